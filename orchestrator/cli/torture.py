"""``orc torture``: kill a pipeline at every write, resume it, and name the steps that are not safe to repeat."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal, cast

import typer

from orchestrator.cli.documents import FindingItem, TortureDocument
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import counted, note, write, write_json
from orchestrator.cli.running import Values, What
from orchestrator.config.document import parse_value
from orchestrator.config.job import load_job
from orchestrator.errors import ConfigError
from orchestrator.graph.pipeline import Pipeline
from orchestrator.testing import Subject, Tortured, torture_subject
from orchestrator.types import seconds
from orchestrator.views.status import duration_text

_WIDTH = 110

Points = Annotated[
    int | None, typer.Option("--points", metavar="N", min=1, help="so many crash points, evenly spread; else all")
]
Answers = Annotated[
    list[str] | None,
    typer.Option("--answer", metavar="STEP=VALUE", help="of an approval or a signal; approvals are given if not named"),
]
On = Annotated[
    str, typer.Option("--on", metavar="inline|local", help="inline watches every body; local uses worker processes")
]
Limit = Annotated[str, typer.Option("--limit", metavar="DURATION", help="longest time for one driver")]


def torture(
    what: What, values: Values = None, points: Points = None, on: On = "inline", answer: Answers = None,
    limit: Limit = "2m", json: Json = False,
) -> int:  # fmt: skip
    """Kill a pipeline at every write, resume it, and name the steps that are not safe to repeat.

    Steps really run, again and again, those with effects included: give it parameters of a test. Runs are kept in a
    scratch folder that is removed; ORC_HOME is not touched.
    """
    given = list(values or [])
    job = load_job(what, given)
    acting = [node.id for node in job.pipeline.trace(**job.params).graph.nodes if node.policy.effects]
    if acting:
        note(f"these steps have effects and will act many times: {', '.join(acting)}")
    subject = Subject(partial(load, what, given), _answers(answer or []), _place(on))
    told = torture_subject(subject, points=points, progress=_progress(), limit_s=seconds(limit))
    if json:
        write_json(_document(job.pipeline.name, told))
    else:
        write(_report(job.pipeline.name, told))
    return ExitCode.FAILED if told.findings else ExitCode.OK


def load(what: str, values: list[str]) -> tuple[Pipeline[..., Any], Mapping[str, Any]]:
    """The pipeline and parameters that the command line names, in the processes that drive it."""
    job = load_job(what, values)
    return job.pipeline, job.params


def _place(on: str) -> Literal["inline", "local"]:
    if on not in ("inline", "local"):
        raise ConfigError(f"--on {on}: write 'inline' or 'local'")
    return cast(Literal["inline", "local"], on)


def _answers(written: list[str]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for text in written:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ConfigError(f"--answer {text}: write --answer step=value")
        answers[name] = parse_value(value)
    return answers


def _progress() -> Callable[[int, int], None]:
    """Tells how many crash points are done: in place on a terminal, every tenth part elsewhere."""
    terminal = sys.stderr.isatty()

    def told(done: int, of: int) -> None:
        text = f"{done} of {counted(of, 'crash point')}"
        if terminal:
            sys.stderr.write(f"\r{text}{chr(10) if done == of else ''}")
            sys.stderr.flush()
        elif done == of or done * 10 // of > (done - 1) * 10 // of:
            note(text)

    return told


def _document(name: str, told: Tortured) -> TortureDocument:
    swept = told.swept
    return TortureDocument(
        name, swept.reference.verdict.state, told.steps, len(swept.creation) + len(swept.writes), swept.points,  # type: ignore[arg-type]
        swept.kills, swept.resumes, round(swept.elapsed_s, 3), [FindingItem(*found) for found in told.findings],
    )  # fmt: skip


def _report(name: str, told: Tortured) -> str:
    swept = told.swept
    writes = counted(len(swept.creation) + len(swept.writes), "write")
    lines = [
        f"{name}: {counted(told.steps, 'step')}, {writes} of journal and artifacts; without faults the run is "
        f"{swept.reference.verdict.state}",
        f"swept {counted(swept.points, 'crash point')}: killed {counted(swept.kills, 'driver')}, "
        f"resumed {counted(swept.resumes, 'time')}, in {duration_text(swept.elapsed_s)}",
    ]
    if not told.findings:
        return "\n".join([*lines, "nothing found: every step is safe to repeat, and every promise was kept"])
    for found in told.findings:
        lines += ["", f"{found.step or 'the engine'}: {found.kind}", *_indented(found.evidence),
                  *_indented(f"fix: {found.fix}")]  # fmt: skip
    return "\n".join([*lines, "", counted(len(told.findings), "finding")])


def _indented(text: str) -> list[str]:
    indent = "    "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
