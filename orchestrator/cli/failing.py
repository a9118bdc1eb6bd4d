"""How a failed step is told: what it said, where in the author's code, and the input that broke it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.app.step_inputs import inputs_of
from orchestrator.engine.state import DONE
from orchestrator.views.frames import frame_lines

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.state import NodeState, RunFold


def failure_lines(here: Installation, fold: RunFold, state: NodeState, index: int) -> list[str]:
    """The failure of a step, the author's own frames first; empty if it did not fail."""
    failure = state.failures.get(index)
    if failure is None:
        return []
    node = state.node.id
    address = f"{node}[{index}]" if state.node.is_map else node
    lines = [f"{_happened(state, index, address)}: {failure.name}: {failure.message}"]
    lines += [f"  {line}" for line in frame_lines(failure.frames)]
    for name, source, preview in inputs_of(here, fold, state, index):
        lines.append(f"  {name} = {preview}" + (f"  (from {source})" if source else ""))
    return lines


def _happened(state: NodeState, index: int, address: str) -> str:
    if index in state.degraded:
        return f"{address} failed, and is degraded"
    return f"an attempt of {address} failed" if state.status[index] == DONE else f"{address} failed"
