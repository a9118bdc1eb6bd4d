"""All runs of an installation: ``runs[id]``, ``runs.latest("churn")``, ``runs.list(...)``."""

from __future__ import annotations

from orchestrator.app.installation import Installation, shared
from orchestrator.app.run import Run
from orchestrator.errors import NotFound

__all__ = ["Run", "Runs", "runs"]


class Runs:
    """Runs of one installation.

    Args:
        installation: The one that the environment names when it is asked, if None.
    """

    def __init__(self, installation: Installation | None = None) -> None:
        self._given = installation

    @property
    def _installation(self) -> Installation:
        return self._given or shared().get()

    def __getitem__(self, run_id: str) -> Run:
        """A run by id or by a unique beginning of it; raises NotFound."""
        return Run(self._installation, self._installation.journal.run(run_id).id)

    def latest(self, pipeline: str | None = None) -> Run:
        """The newest run (of a pipeline); raises NotFound if there is none."""
        rows = self._installation.journal.runs(pipeline, limit=1)
        if not rows:
            raise NotFound(f"there is no run of {pipeline}" if pipeline else "there is no run yet")
        return Run(self._installation, rows[0].id)

    def list(self, pipeline: str | None = None, state: str | None = None, limit: int = 50) -> list[Run]:
        """Runs, newest first."""
        return [Run(self._installation, row.id) for row in self._installation.journal.runs(pipeline, state, limit)]


runs = Runs()
