"""``scope=``, ``by=`` and ``merge=``: what is refused, and the graphs that calls on streams become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from orchestrator import pipeline, stage
from orchestrator.errors import InvalidStage, WrongType
from orchestrator.graph.json import graph_from_json, graph_to_json


@stage(streaming=True)
def ticks(n: int) -> Iterator[pa.Table]:
    for number in range(n):
        yield pa.table({"x": [number]})


@stage
def made(n: int) -> pa.Table:
    return pa.table({"x": list(range(n))})


@stage(scope="rows")
def doubled(table: pa.Table, by: int = 2) -> pa.Table:
    return pa.table({"x": [x * by for x in table["x"].to_pylist()]})


@stage(scope="groups", by="x")
def counted(table: pa.Table) -> pa.Table:
    return pa.table({"x": table["x"][:1], "n": [table.num_rows]})


@stage(scope="table")
def height(table: pa.Table) -> int:
    return int(table.num_rows)


def added(parts: list[int]) -> float:
    return float(sum(parts))


@stage(scope="rows", merge=added)
def total(table: pa.Table) -> int:
    return sum(table["x"].to_pylist())


@pipeline
def over(n: int, streams: bool) -> list[Any]:
    table = doubled(ticks(n) if streams else made(n), by=3)
    return [table, counted(table), total(doubled(table, 2)), height(table)]


def test_rows_of_a_stream_are_a_map_over_its_batches() -> None:
    nodes = {node.id: node for node in over.graph(n=3, streams=True).nodes}
    assert list(nodes) == ["ticks", "doubled", "counted", "doubled#2", "total", "total.merge", "height"]
    assert [name for name, node in nodes.items() if node.is_map] == ["doubled", "doubled#2", "total"]
    plain = over.graph(n=3, streams=False)
    assert [node.id for node in plain.nodes] == ["made", "doubled", "counted", "doubled#2", "total", "height"]
    assert plain.node("total").stage.merge  # type: ignore[union-attr]
    assert plain.node("total").stage.returns == "float"  # type: ignore[union-attr]
    assert graph_from_json(graph_to_json(plain)) == graph_from_json(
        graph_to_json(graph_from_json(graph_to_json(plain)))
    )


def test_called_as_functions_both_give_the_same() -> None:
    parts, counts, *rest = over(n=3, streams=True)
    whole, same_counts, *same_rest = over(n=3, streams=False)
    assert pa.concat_tables(parts).equals(whole)
    assert counts.equals(same_counts)
    assert rest == same_rest == [18.0, 3]
    assert total(made(4)) == 6.0


def test_what_decides_the_result_is_part_of_the_fingerprint() -> None:
    other = counted.options(by=["x", "y"])
    assert len({counted.spec.fingerprint, other.spec.fingerprint, total.spec.fingerprint}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "row"}, "write 'rows', 'groups' or 'table'"),
        ({"scope": "groups"}, "needs by="),
        ({"scope": "rows", "by": "x"}, "by= goes with scope='groups'"),
        ({"scope": "groups", "by": ["x", "x"]}, "neither a column nor a list of different columns"),
        ({"merge": added}, "merge= goes with scope="),
        ({"scope": "table", "merge": added}, "merge= goes with scope="),
        ({"scope": "rows", "merge": 3}, "merge=3 is no function"),
        ({"scope": "rows", "merge": added, "fallback": None}, "a fallback cannot stand for a part"),
        ({"scope": "rows", "streaming": True}, "this one yields batches"),
    ],
)
def test_declarations_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    def function(table: pa.Table) -> Any:
        return table

    with pytest.raises(InvalidStage, match=message):
        stage(function, **options)


def test_the_first_parameter_is_the_table() -> None:
    with pytest.raises(InvalidStage, match="that is the first parameter, and there is none"):
        stage(lambda: None, scope="rows")

    @stage(scope="rows")
    def wrong(path: str, table: pa.Table) -> pa.Table:
        return table

    @pipeline
    def calls_it(n: int) -> Any:
        return wrong("x", made(n))

    with pytest.raises(InvalidStage, match=r"is to be a pyarrow.Table; path is a str"):
        calls_it.graph(n=1)


def test_what_is_no_table_is_refused_before_anything_runs() -> None:
    @pipeline
    def of_a_number(n: int) -> Any:
        return doubled(height(made(n)))

    with pytest.raises(WrongType, match="doubled: table is to be a"):
        of_a_number.graph(n=1)
