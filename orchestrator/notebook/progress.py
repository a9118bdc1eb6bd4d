"""The progress of a run while a cell waits for it: one display that is redrawn in place, in Jupyter and in marimo.

The run is followed by its facts, as everywhere. To look takes a small part of the time at most: the longer it takes,
the rarer it is done. A run that is over before the first look shows nothing.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.app.following import CONTROL_KINDS, Following
from orchestrator.app.picture import run_statuses
from orchestrator.graph.fact import FINISHED
from orchestrator.views.progress import ProgressView, progress_html, progress_text

if TYPE_CHECKING:
    from orchestrator.app.run import Run

FIRST_S = 0.4
"""What is over by then needs no display."""

_LEAST_S, _MOST_SHARE, _LINES_S = 0.25, 0.04, 5.0


class Display(Protocol):
    """A place where a picture can be replaced by the next."""

    pause_s: float

    def show(self, html: str, text: str) -> None:
        """Show this instead of what was shown before."""
        ...


class JupyterDisplay:
    """An output of the cell that runs, updated in place."""

    pause_s = _LEAST_S

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, html: str, text: str) -> None:
        """Make the output, or update it."""
        from IPython.display import display

        content = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(content, raw=True)


class MarimoDisplay:
    """The output of the cell that runs; its last expression takes the place afterwards."""

    pause_s = _LEAST_S

    def show(self, html: str, text: str) -> None:
        """Replace the output."""
        import marimo

        marimo.output.replace(marimo.Html(html))


class Lines:
    """Lines on standard error, each time that something has changed; on a terminal one that is written over."""

    def __init__(self) -> None:
        self._over = sys.stderr.isatty()
        self.pause_s = _LEAST_S if self._over else _LINES_S
        self._last = ""

    def show(self, html: str, text: str) -> None:
        """Write a line, but no line twice."""
        told = text.partition(" · ")[0]
        if not self._over and told == self._last:
            return
        self._last = told
        sys.stderr.write(f"\r\x1b[2K{text}" if self._over else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line as it is."""
        if self._over and self._last:
            sys.stderr.write("\n")


class Progress:
    """Shows a run in a display."""

    def __init__(self, run: Run, display: Display) -> None:
        self._run = run
        self._display = display
        self._began = time.monotonic()
        self._next = self._began + FIRST_S
        self._following: Following | None = None
        self._broken = False

    def look(self) -> None:
        """Show the run as it is by now, if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._show(over=False)
        self._next = time.monotonic() + max(self._display.pause_s, (time.monotonic() - now) / _MOST_SHARE)

    def close(self) -> None:
        """Show how it ended, if it was shown before."""
        if self._following is not None:
            self._show(over=True)
        if isinstance(self._display, Lines):
            self._display.end()

    def _show(self, over: bool) -> None:
        if self._broken:
            return
        try:
            view = self._view(over)
            self._display.show(progress_html(view), progress_text(view))
        except Exception as error:  # a picture that fails must not take the run with it
            self._broken = True
            sys.stderr.write(f"the progress of run {self._run.id} cannot be shown: {type(error).__name__}: {error}\n")

    def _view(self, over: bool) -> ProgressView:
        if self._following is None:
            self._following = Following(self._run.installation, self._run.id)
        following = self._following
        if over and self._run.over_here:  # its driver has the last state at hand
            fold = self._run.fold()
            statuses = run_statuses(fold)
        else:
            following.advance()
            fold, statuses = following.fold, following.statuses()
        state = self._run.state
        nodes = [(name, statuses[name]) for name in fold.nodes if fold.nodes[name].node.kind not in CONTROL_KINDS]
        waits = [asked.text or node for node, asked in fold.waiting.items() if state not in FINISHED]
        return ProgressView(self._run.id, state, time.monotonic() - self._began, nodes, waits)


def open_progress(run: Run, anywhere: bool) -> Progress | None:
    """What shows the progress of a run here: in a notebook, or anywhere; None if there is no place for it."""
    display = notebook_display() or (Lines() if anywhere else None)
    return None if display is None else Progress(run, display)


def notebook_display() -> Display | None:
    """A display of the notebook whose cell calls; None if no cell does."""
    marimo: Any = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        return MarimoDisplay()
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and "ipykernel" in sys.modules else None
    return JupyterDisplay() if getattr(shell, "kernel", None) is not None else None
