"""Previews: a model behind HTTP for a while, for a branch, a run, or whoever wants to try it.

Nobody has to be there to end one: when its time has come, it is gone.
"""

from __future__ import annotations

import hashlib
import math

from orchestrator import stage, step
from orchestrator.errors import ConfigError
from orchestrator.serving import PREVIEW_PREFIX, Preview, end_preview_on, plain_name, previews_on
from stages.deployment.predictor import DEFAULT_MAX_ROWS, model_to_payload
from stages.deployment.serving import PREDICTOR
from stages.training import Model, ModelFile

LASTS_S = 7200.0
LONGEST_S = 30 * 86_400.0


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
    app, payload, here = PREVIEW_PREFIX + plain_name(name), model_to_payload(model), step()
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
    return previews_on(step().serving)


@stage(uses=("serving",), num_cpus=0, effects=True, timeout="5m")
def end_preview(name: str) -> str:
    """End a preview before its time.

    Returns:
        Its name.

    Raises:
        NotFound: none of that name is served.
    """
    return end_preview_on(step().serving, name)
