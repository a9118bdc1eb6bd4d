"""Previews: a model behind HTTP for a while, for a branch, a run, or whoever wants to try it.

Nobody has to be there to end one: when its time has come, it is gone.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

from orchestrator import stage, step
from orchestrator.errors import ConfigError, NotFound
from stages.deployment.predictor import DEFAULT_MAX_ROWS, model_to_payload
from stages.deployment.serving import PREDICTOR
from stages.training import Model, ModelFile

PREFIX = "preview-"
"""Applications of previews begin with it, so that none takes the place of one that has users."""

LASTS_S = 7200.0
LONGEST_S = 30 * 86_400.0

_STRANGE = re.compile(r"[^A-Za-z0-9._]+")
_MOST_CHARS = 40


@dataclass(frozen=True)
class Preview:
    """A model that answers at ``url`` for a while; ``until`` is when it ends, in seconds since 1970."""

    name: str
    version: str
    url: str
    until: float


@stage(uses=("serving",), num_cpus=0, effects=True, timeout="5m")
def preview(model: Model | ModelFile, name: str, lasts_s: float = LASTS_S, max_rows: int = DEFAULT_MAX_ROWS) -> Preview:
    """Serve a model for a while, in the place of an earlier preview of this name. Nobody has to be there to end it.

    Args:
        name: Of a branch, of a run, or any other; what URLs do not have becomes ``-``.
        lasts_s: How long from now; the same model again begins anew.
        max_rows: Most rows of one request.

    Raises:
        ServingFailed: it did not become healthy.
        ConfigError: the name has no letter and no digit, or the time is none.
    """
    if not (math.isfinite(lasts_s) and 0 < lasts_s <= LONGEST_S):
        raise ConfigError(f"a preview cannot last {lasts_s!r} s; give it up to {LONGEST_S / 86_400:g} days")
    app, payload, here = PREFIX + plain_name(name), model_to_payload(model), step()
    version, until = hashlib.blake2b(payload, digest_size=6).hexdigest(), here.now() + lasts_s
    endpoint = here.serving.deploy(
        app=app, version=version, predictor=PREDICTOR, payload=payload, config={"max_rows": max_rows}, until=until
    )
    for served in here.serving.status(app):
        if served.endpoint.version != version:
            here.serving.undeploy(app, served.endpoint.version)
    return Preview(plain_name(name), version, str(endpoint.url), until)


@stage(uses=("serving",), num_cpus=0, effects=True, timeout="5m")
def previews() -> list[Preview]:
    """All previews that are served now, those first that end first."""
    serving, found = step().serving, []
    for app, version, url in (served.endpoint for served in serving.status() if served.state != "stopping"):
        until = serving.until(app, version) if app.startswith(PREFIX) else None
        if until is not None:
            found.append(Preview(app.removeprefix(PREFIX), version, url, until))
    return sorted(found, key=lambda one: (one.until, one.name))


@stage(uses=("serving",), num_cpus=0, effects=True, timeout="5m")
def end_preview(name: str) -> str:
    """End a preview before its time.

    Returns:
        Its name.

    Raises:
        NotFound: none of that name is served.
    """
    serving, plain = step().serving, plain_name(name)
    if not serving.status(PREFIX + plain):
        raise NotFound(f"there is no preview {plain!r}; see: orc preview --list")
    serving.undeploy(PREFIX + plain)
    return plain


def plain_name(name: str) -> str:
    """A name as it can stand in a URL: ``feature/new-model`` is ``feature-new-model``."""
    plain = _STRANGE.sub("-", name).strip("-._")
    if not plain:
        raise ConfigError(f"a preview cannot be called {name!r}: it needs a letter or a digit")
    if len(plain) <= _MOST_CHARS:
        return plain
    return f"{plain[: _MOST_CHARS - 7].rstrip('-._')}-{hashlib.blake2b(name.encode(), digest_size=3).hexdigest()}"
