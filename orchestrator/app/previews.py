"""Previews that are served, looked at and ended at once: it moves nobody's requests, so it takes no run."""

from __future__ import annotations

from orchestrator.app.ray_backend import shared_cluster, shared_local_cluster
from orchestrator.backends.serve import RayServing
from orchestrator.config.settings import Settings
from orchestrator.serving import Preview, end_preview_on, previews_on


def served_previews(settings: Settings) -> list[Preview]:
    """All previews on the cluster or the standing Ray, those first that end first.

    Raises:
        ClusterUnreachable: it does not answer.
    """
    return previews_on(_serving(settings))


def end_preview(settings: Settings, name: str) -> str:
    """End a preview before its time; gives its name.

    Raises:
        NotFound: none of that name is served.
        ClusterUnreachable: the cluster or the standing Ray does not answer.
    """
    return end_preview_on(_serving(settings), name)


def _serving(settings: Settings) -> RayServing:
    if settings.ray_address:
        shared_cluster(settings.ray_address).connect()
    else:
        local = shared_local_cluster(settings.home)
        local.look()
        local.connect()
    return RayServing()
