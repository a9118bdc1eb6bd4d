"""Previews that are served, looked at and ended at once: it moves nobody's requests, so it takes no run."""

from __future__ import annotations

from orchestrator.app.serve import serving
from orchestrator.config.settings import Settings
from orchestrator.serving import Preview, end_preview_on, previews_on


def served_previews(settings: Settings) -> list[Preview]:
    """All previews on the cluster or the standing Ray, those first that end first.

    Raises:
        ClusterUnreachable: it does not answer.
    """
    return previews_on(serving(settings))


def end_preview(settings: Settings, name: str) -> str:
    """End a preview before its time; gives its name.

    Raises:
        NotFound: none of that name is served.
        ClusterUnreachable: the cluster or the standing Ray does not answer.
    """
    return end_preview_on(serving(settings), name)
