"""Checks of stages in runs: what fails, what is retried, streams, maps, checks that raise, other checks at one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pandera
import pandera.pyarrow
import pyarrow as pa
import pytest

from orchestrator import CheckResult, Retry, pipeline, stage
from orchestrator.app.run import Run
from orchestrator.errors import ChecksFailed, NotFound
from orchestrator.graph import fact as f
from orchestrator.testing import InProcess
from stages.quality import in_range, not_null, row_count, unique


@dataclass(frozen=True)
class Broken:
    severity: Any = "block"
    name: str = "broken"

    def check(self, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        raise RuntimeError("no idea")


def table(n: int) -> pa.Table:
    return pa.table({"x": list(range(n))})


@stage(checks=[in_range("x", 0, 4), row_count(1, 3, severity="warn")], cache="1d")
def few(n: int) -> pa.Table:
    return table(n)


@stage(checks=[row_count(high=2)], retries=2)
def never(n: int) -> pa.Table:
    return table(n)


@stage(checks=[row_count(high=2)], retries=Retry(attempts=3, backoff="0s..0s", on=(ChecksFailed,)))
def again(n: int) -> pa.Table:
    return table(n)


@stage(checks=[unique("x", severity="warn"), in_range("x", high=2)], streaming=True)
def stream(n: int) -> Iterator[pa.Table]:
    for first in range(n):
        yield pa.table({"x": [first, first]})


@stage(checks=[Broken("warn"), not_null("x")])
def doubtful(n: int) -> pa.Table:
    return table(n)


@stage(checks=[Broken()])
def broken(n: int) -> pa.Table:
    return table(n)


@stage(checks=[not_null("y"), not_null("x", part="train")])
def parts(n: int) -> dict[str, pa.Table]:
    return {"train": table(n), "test": table(1)}


@stage(checks=[pandera.DataFrameSchema({"x": pandera.Column(int, pandera.Check.le(2))})])
def schema(n: int) -> pd.DataFrame:
    return pd.DataFrame({"x": range(n)})


@stage(checks=[pandera.pyarrow.DataFrameSchema({"x": pandera.pyarrow.Column("int64", pandera.Check.le(2))})])
def arrow_schema(n: int) -> pa.Table:
    return table(n)


@stage(checks=[pandera.DataFrameSchema({"z": pandera.Column(int)}, name="other")])
def other_schema(n: int) -> pa.Table:
    return table(n)


@stage
def rows(some: Any) -> int:
    return len(some)


@stage
def either(tables: list[pa.Table]) -> int:
    return len(tables)


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path)


def run(here: InProcess, made: Any, n: int) -> Run:
    def flow(n: int) -> int:
        return rows(made(n))

    return here.start(pipeline(flow), n=n).wait()


def results(found: Run, node: str) -> dict[str, tuple[str, int, int]]:
    return {
        one.outcome.name: (one.outcome.state, one.outcome.checked, one.outcome.failed) for one in found[node].checks
    }


def reports(found: Run) -> list[f.ChecksReported]:
    return [one.fact for one in found.events() if isinstance(one.fact, f.ChecksReported)]


def test_severities_decide_and_a_reused_output_is_not_checked_again(here: InProcess) -> None:
    first = run(here, few, 5)
    assert first.state == "succeeded"
    assert results(first, "few") == {"in_range(x) [0, 4]": ("passed", 5, 0), "row_count [1, 3]": ("warned", 0, 0)}
    reused = run(here, few, 5)
    assert (reused.state, reports(reused)) == ("succeeded", [])
    failed = run(here, few, 9)
    assert failed.state == "failed"
    assert results(failed, "few")["in_range(x) [0, 4]"] == ("failed", 9, 4)
    assert failed["few"].checks[0].rows.to_pylist() == [{"x": n, "__row__": n} for n in (5, 6, 7, 8)]
    with pytest.raises(NotFound, match="no failing rows"):
        _ = failed["few"].checks[1].rows


def test_other_bounds_make_a_reused_output_new(here: InProcess) -> None:
    run(here, few, 5)
    other = run(here, few.options(checks=[in_range("x", 0, 3)]), 5)
    assert other.state == "failed"
    assert reports(run(here, few.options(checks=[]), 5)) == []


def test_a_check_is_repeated_only_if_its_error_is_named(here: InProcess) -> None:
    assert [one.attempt for one in reports(run(here, never, 3))] == [1]
    assert [one.attempt for one in reports(run(here, again, 3))] == [1, 2, 3]


def test_a_stream_stops_before_the_batch_that_fails(here: InProcess) -> None:
    found = run(here, stream, 5)
    assert found.state == "failed"
    assert found.fold().nodes["stream"].batches == 3
    assert results(found, "stream") == {"unique(x)": ("warned", 8, 8), "in_range(x) […, 2]": ("failed", 8, 2)}
    assert run(here, stream, 3).result() == 3


def test_items_of_a_map_are_checked_one_by_one(here: InProcess) -> None:
    @pipeline
    def mapped() -> int:
        return either(few.options(on_item_error="drop").map([1, 9, 2]))

    found = here.start(mapped).wait()
    assert (found.state, found.result()) == ("degraded", 2)
    assert [one.outcome.state for one in found["few", 1].checks] == ["failed", "warned"]
    assert len(found["few"].checks) == 6


def test_a_check_that_raises_is_named(here: InProcess) -> None:
    found = run(here, doubtful, 2)
    assert found.state == "succeeded"
    assert found["doubtful"].checks[0].outcome.message == "the check itself raised RuntimeError: no idea"
    failed = run(here, broken, 2)
    failure = failed["broken"].failure
    assert failure is not None
    assert "broken: the check itself raised RuntimeError: no idea" in failure.message


def test_a_part_that_is_no_table_is_a_failure_in_words(here: InProcess) -> None:
    found = {one.outcome.name: one.outcome for one in run(here, parts, 2)["parts"].checks}
    assert found["train: not_null(x)"].passed
    assert "The output is a dict, not a table" in found["not_null(y)"].message


@pytest.mark.parametrize("made", [schema, arrow_schema])
def test_schemas_of_pandera_are_checks(here: InProcess, made: Any) -> None:
    assert run(here, made, 3).state == "succeeded"
    found = run(here, made, 5)
    assert found.state == "failed"
    (report,) = found[made.name].checks
    assert (report.outcome.state, report.outcome.column) == ("failed", "x")
    assert "less_than_or_equal_to(2)" in report.outcome.message


def test_a_schema_may_want_another_column(here: InProcess) -> None:
    found = run(here, other_schema, 3)
    assert "z" in found["other_schema"].checks[0].outcome.message


def test_tables_are_described_unless_switched_off(here: InProcess) -> None:
    profile = run(here, few, 3)["few"].profiles[0][""]
    assert (profile["rows"], profile["columns"][0]["max"]) == (3, 2)
    assert run(here, few.options(profile=False, name="bare"), 3)["bare"].profiles == []
    assert run(here, parts.options(checks=[]), 2)["parts"].profiles[0]["train"]["rows"] == 2  # "test" if time allows
