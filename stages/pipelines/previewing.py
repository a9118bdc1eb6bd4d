"""Previews by hand: a published model answers for a while under a name of its own. For ``orc preview``."""

from __future__ import annotations

from datetime import datetime

from orchestrator import pipeline, stage, version
from stages.deployment import Preview, preview


@stage
def tell(shown: Preview) -> str:
    """A preview in words: name, version, address and when it ends."""
    ends = datetime.fromtimestamp(shown.until).astimezone().isoformat(" ", "seconds")
    return f"{shown.name}  {shown.version}  {shown.url}  until {ends}"


@pipeline
def show(model: str, name: str, lasts_s: float) -> str:
    """Serve a published model for a while.

    Args:
        model: A version: ``model:flights``, ``model:flights@v3``, ``model:flights@staging``.
        name: Of the preview; one that has it already is replaced.
        lasts_s: How long.
    """
    return tell(preview(version(model), name, lasts_s))
