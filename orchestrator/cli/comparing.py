"""``orc diff`` of two runs: what differs, first what matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.app.comparing import RunDifference, run_difference
from orchestrator.app.installation import Installation
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.output import counted, table, write, write_json
from orchestrator.cli.run_documents import DifferingItem, RunDifferenceDocument, StepDifferenceItem
from orchestrator.readers.comparison import Row, StepRow
from orchestrator.views.status import duration_text

_SHOWN = 20
_DIGEST = 12
_WIDEST = 40

Write = Callable[[str], None]


def diff_runs(before: str, after: str, as_json: bool) -> int:
    """Say what differs between two runs."""
    found = run_difference(Installation(), before, after)
    if as_json:
        write_json(difference_document(found))
    else:
        tell_difference(found, write)
    return ExitCode.OK


def difference_document(difference: RunDifference) -> RunDifferenceDocument:
    """Two runs as they are printed for programs."""
    found, (before, after) = difference.found, difference.found.runs
    return RunDifferenceDocument(
        before, after, found.identical, found.first.address if found.first else None, difference.forked or None,
        _items(found.summary), _items(found.params), _items(found.code), _items(found.data), _items(found.environment),
        _items(found.metrics), [_step_item(difference, step) for step in difference.steps],
    )  # fmt: skip


def tell_difference(difference: RunDifference, say: Write) -> None:
    """Two runs for people."""
    found = difference.found
    say(_headline(difference))
    if found.first is not None:
        say(f"it began at {found.first.address}: {'; '.join(found.first.causes)}")
    sections = (
        ("parameters", found.params), ("code", found.code), ("data", found.data), ("environment", found.environment),
    )  # fmt: skip
    for title, rows in sections:
        _tell_rows(title, rows, found.runs, say)
    tell_results(difference, say)


def tell_results(difference: RunDifference, say: Write) -> None:
    """Metrics, then output, time and cost of each step; of very many those that differ or took longest."""
    _tell_rows("metrics", difference.found.metrics, difference.found.runs, say)
    say("")
    steps = _most_telling(difference)
    rows = [_step_cells(difference, step) for step in steps]
    say(table(("step", "output", "steps", "time", "cpu", "why"), rows))
    if len(steps) < len(difference.steps):
        say(f"… {counted(len(difference.steps) - len(steps), 'step')} more; see --json")
    totals = [_total(difference, place) for place in (0, 1)]
    took = next(row for row in difference.found.summary if row.name == "took")
    say(f"all steps: {totals[0]:.3f} s of CPU before, {totals[1]:.3f} s now; the runs took {_beside(took.values)}")


def _headline(difference: RunDifference) -> str:
    found, (before, after) = difference.found, difference.found.runs
    parts = [
        f"{count:,} {one if count == 1 else several}"
        for count, one, several in (
            (_differing(found.params), "parameter", "parameters"),
            (_differing(found.code), "stage's code", "stages' code"),
            (_differing(found.data), "input", "inputs"),
            (_differing(found.metrics), "metric", "metrics"),
            (sum(not step.equal for step in difference.steps), "step's output", "steps' outputs"),
        )
        if count
    ]
    told = _listed(parts)
    forked = f", a fork of it from {difference.forked}," if difference.forked else ""
    if not parts:
        return f"{after}{forked} gave the same as {before}, step by step"
    return f"{after}{forked} differs from {before} in {told}; {_state(found.summary)}"


def _state(summary: Sequence[Row]) -> str:
    state = next(row for row in summary if row.name == "state")
    return f"both {state.values[0]}" if state.equal else f"{state.values[0]} -> {state.values[1]}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def _differing(rows: Sequence[Row]) -> int:
    return sum(not row.equal for row in rows)


def _tell_rows(title: str, rows: Sequence[Row], runs: Sequence[str], say: Write) -> None:
    differing = [row for row in rows if not row.equal]
    if not differing:
        return
    cells = [(row.name, *(_short(value) for value in row.values)) for row in differing[:_SHOWN]]
    say("")
    say(table((title, *runs), cells))
    if len(differing) > _SHOWN:
        say(f"… {counted(len(differing) - _SHOWN, 'row')} more; see --json")


def _most_telling(difference: RunDifference) -> list[StepRow]:
    steps = difference.steps
    if len(steps) <= _SHOWN:
        return list(steps)
    longest = sorted(steps, key=lambda step: -max(busy_s or 0.0 for busy_s in step.busy_s))[:_SHOWN]
    chosen = {step.address for step in [*[step for step in steps if not step.equal][:_SHOWN], *longest][: 2 * _SHOWN]}
    return [step for step in steps if step.address in chosen]


def _step_cells(difference: RunDifference, step: StepRow) -> tuple[str, ...]:
    reused = difference.reused.get(step.address, 0)
    if reused and reused == step.steps:
        steps = "history" if difference.forked else "reused"
    else:
        steps = f"{reused:,} of {step.steps:,} reused" if reused else f"{step.steps:,}"
    shown = step.previews if all(step.previews) and len(set(step.previews)) > 1 else step.outcomes
    output = "same" if step.equal else "?" if step.differing is None else _beside(shown)
    if step.steps > 1 and step.differing:
        output = f"{step.differing:,} differ"
    why = "; ".join(step.causes)
    return (
        step.address, output, steps, _beside([_duration(one) for one in step.busy_s]),
        _beside([None if one is None else f"{one:.3f} s" for one in difference.cpu_s(step)]), why,
    )  # fmt: skip


def _beside(values: Sequence[str | None]) -> str:
    """``a -> b``; once if both are the same, which they hardly ever are for times."""
    shown = [_short(value) for value in values]
    return shown[0] if len(set(shown)) == 1 else " -> ".join(shown)


def _short(value: str | None) -> str:
    if value is None:
        return "-"
    if len(value) >= 32 and all(char in "0123456789abcdef" for char in value):
        return value[:_DIGEST]
    return value if len(value) <= _WIDEST else value[: _WIDEST - 1] + "…"


def _duration(busy_s: float | None) -> str | None:
    return None if busy_s is None else duration_text(busy_s)


def _total(difference: RunDifference, place: int) -> float:
    return sum(difference.cpu_s(step)[place] or 0.0 for step in difference.steps)


def _items(rows: Sequence[Row]) -> list[DifferingItem]:
    return [DifferingItem(row.name, before, after) for row in rows if not row.equal for before, after in [row.values]]


def _step_item(difference: RunDifference, step: StepRow) -> StepDifferenceItem:
    (before, after), (busy_before, busy_after) = step.outcomes, step.busy_s
    return StepDifferenceItem(
        step.address, before, after, step.steps, step.differing, list(step.causes), step.own, busy_before, busy_after,
        *difference.cpu_s(step), difference.reused.get(step.address, 0),
    )  # fmt: skip
