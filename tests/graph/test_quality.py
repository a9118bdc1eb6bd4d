"""Checks as options of a stage: what is refused, where they show, and what changing one means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator import Check, CheckResult, Conforms, pipeline, stage
from orchestrator.errors import InvalidStage
from orchestrator.graph.json import graph_from_json, graph_to_json, seal
from orchestrator.views.cards import picture


@dataclass(frozen=True)
class Most:
    most: int
    severity: Any = "block"

    @property
    def name(self) -> str:
        return f"at most {self.most}"

    def check(self, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        return CheckResult(output <= self.most)


class Moody(Most):
    kind = "mood"


class Schema:
    """Looks like pandera's."""

    name = "mine"

    def validate(self, frame: Any, lazy: bool = False) -> Any:
        return frame


@stage(checks=[Most(3), Most(2, "warn"), Schema()])
def make(n: int) -> int:
    return n


@pipeline
def flow(n: int = 1) -> int:
    return make(n)


def test_checks_stand_in_the_graph_and_travel_in_it() -> None:
    graph = flow.graph()
    spec = graph.node("make").stage
    assert spec is not None
    assert spec.checks == ("at most 3", "at most 2 (warns)", "schema mine")
    assert picture(graph).cards[0].notes == ("3 checks",)
    sealed = seal(graph, lambda value: b"\xc0")
    assert graph_from_json(graph_to_json(sealed)) == sealed
    assert sealed.node("make").checks is not None


def test_another_bound_is_another_fingerprint_but_the_same_code() -> None:
    def spec(*checks: Any) -> Any:
        return make.options(checks=list(checks)).spec

    assert spec(Most(3)) == spec(Most(3))
    found = [spec(), spec(Most(3)), spec(Most(4)), spec(Most(3, "warn")), spec(Most(3), Most(4))]
    assert len({one.fingerprint for one in found}) == 5
    assert len({one.ref for one in found}) == 1
    assert make.options(name="other").checks is make.checks


@pytest.mark.parametrize(
    ("checks", "told"),
    [
        (Most(3), "is no list of checks"),
        ("unique", "is no list of checks"),
        ([lambda table: True], "which is no check; call it"),
        ([3], "a check has name, severity and check"),
        ([Most(3), Most(3)], "two checks are called 'at most 3'"),
        ([Most(3, "loud")], "severity is 'block' or 'warn'"),
        ([Moody(3)], "kind is 'quality' or 'drift'"),
    ],
)
def test_what_is_no_check_is_refused_where_it_is_written(checks: Any, told: str) -> None:
    with pytest.raises(InvalidStage, match=told) as raised:
        stage(lambda n: n, checks=checks)
    assert str(raised.value).startswith(__file__)


def test_what_the_engine_takes() -> None:
    assert isinstance(Most(1), Check)
    assert make.checks[2].severity == Conforms(Schema()).severity == "block"
