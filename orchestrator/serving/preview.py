"""Previews: versions that are served for a while, under a name of their own, on whatever serves.

They are applications whose names begin with a prefix; what there is, and when it ends, is kept where they are served.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from orchestrator.errors import ConfigError, NotFound
from orchestrator.ports.serving import Served

PREFIX = "preview-"
"""Applications of previews begin with it, so that none takes the place of one that has users."""

_STRANGE = re.compile(r"[^A-Za-z0-9._]+")
_MOST_CHARS = 40


class Previewing(Protocol):
    """The part of ``ports.serving.Serving`` that previews need."""

    def status(self, app: str | None = None) -> list[Served]:
        """All versions, or those of one application."""
        ...

    def until(self, app: str, version: str) -> float | None:
        """When a version ends by itself."""
        ...

    def undeploy(self, app: str, version: str | None = None) -> None:
        """End an application."""
        ...


@dataclass(frozen=True)
class Preview:
    """A model that answers at ``url`` for a while; ``until`` is when it ends, in seconds since 1970."""

    name: str
    version: str
    url: str
    until: float


def previews_on(serving: Previewing) -> list[Preview]:
    """All previews that are served now, those first that end first."""
    found = list(_previews(serving, (one for one in serving.status() if one.state != "stopping")))
    return sorted(found, key=lambda one: (one.until, one.name))


def _previews(serving: Previewing, versions: Iterable[Served]) -> Iterable[Preview]:
    for app, version, url in (served.endpoint for served in versions):
        until = serving.until(app, version) if app.startswith(PREFIX) else None
        if until is not None:
            yield Preview(app.removeprefix(PREFIX), version, url, until)


def end_preview_on(serving: Previewing, name: str) -> str:
    """End a preview before its time; gives its name as it stands in its address.

    Raises:
        NotFound: none of that name is served.
    """
    plain = plain_name(name)
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
