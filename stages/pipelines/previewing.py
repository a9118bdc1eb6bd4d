"""Previews by hand: a published model answers for a while under a name of its own. For ``orc preview``."""

from __future__ import annotations

from datetime import datetime

from orchestrator import pipeline, stage, version
from stages.deployment import Preview, end_preview, preview, previews


@stage
def tell(found: list[Preview]) -> str:
    """Previews in words: name, version, address and when each ends, on a line of its own."""
    return "\n".join(_line(one) for one in found) or "there is no preview"


@stage
def tell_one(shown: Preview) -> str:
    """A preview in words."""
    return _line(shown)


def _line(one: Preview) -> str:
    ends = datetime.fromtimestamp(one.until).astimezone().isoformat(" ", "seconds")
    return f"{one.name}  {one.version}  {one.url}  until {ends}"


@pipeline
def show(model: str, name: str, lasts_s: float) -> str:
    """Serve a published model for a while.

    Args:
        model: A version: ``model:flights``, ``model:flights@v3``, ``model:flights@staging``.
        name: Of the preview; one that has it already is replaced.
        lasts_s: How long.
    """
    return tell_one(preview(version(model), name, lasts_s))


@pipeline
def look() -> str:
    """All previews that are served now."""
    return tell(previews())


@pipeline
def remove(name: str) -> str:
    """End a preview before its time."""
    return end_preview(name)
