"""Graphs written as YAML and read back: the same nodes, whatever Python they come from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import Pipeline, Secret, approve, each, pipeline, signal, stage, version, when
from orchestrator.config.graph_file import graph_pipeline
from orchestrator.config.graph_writer import same_graph, written_graph
from orchestrator.config.job import load_job
from orchestrator.config.locations import shipped_configs
from orchestrator.config.pipeline_file import parse_pipeline_file
from orchestrator.errors import ConfigError
from orchestrator.graph.trace import Traced
from orchestrator.testing import InProcess
from tests.config.loose_stages import AtMost, Settings, asks, halves, island, items, one, several

SHIPPED = sorted(path.stem for path in shipped_configs().glob("*.yaml"))


def read_back(text: str, name: str) -> Traced:
    return graph_pipeline(parse_pipeline_file(text, name)).trace()


def round_trip(traced: Traced) -> str:
    text = written_graph(traced)
    back = read_back(text, traced.graph.pipeline)
    assert same_graph(traced.graph, back.graph)
    assert traced.stages.keys() == back.stages.keys()
    assert written_graph(back) == text
    return text


TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(
        ["$", "$x", "$$", "a$", "yes", "no", "null", "1e3", "0o17", "1_000", "2014-01-01", "~", "=", "1:30"]
    ),
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    TEXTS,
    st.builds(Settings, TEXTS, st.floats(0, 1)),
)
CONSTANTS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(TEXTS, inner, max_size=3),
        st.builds(Settings, TEXTS, st.just(0.25), st.lists(inner, max_size=2).map(tuple)),
    ),
    max_leaves=6,
)
PLACES = st.integers(0, 1_000)
VALUES = st.one_of(
    CONSTANTS,
    st.builds(lambda place, shape: ("ref", place, shape), PLACES, st.sampled_from(["plain", "list", "tuple", "dict"])),
)
NAMES = st.one_of(st.none(), st.sampled_from(["one", "when", "params", "a b", "größe", "x.y", "2nd", "branch"]))
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "num_cpus": st.sampled_from([0.5, 2]),
        "memory": st.just("1GiB"),
        "resources": st.just({"disk": 1.0}),
        "cache": st.sampled_from([None, True, "2h"]),
        "retries": st.integers(0, 3),
        "timeout": st.sampled_from([None, "1.5s"]),
        "profile": st.just(False),
        "publish": st.just("data:x"),
        "checks": st.lists(st.builds(AtMost, st.floats(0, 9), st.sampled_from(["block", "warn"])), max_size=1),
        "fallback": PLAIN,
    },
)


def programs(depth: int) -> st.SearchStrategy[list[Any]]:
    call = st.tuples(
        st.just("call"), st.sampled_from(["one", "halves", "several", "asks"]), NAMES, OPTIONS, VALUES, VALUES
    )
    steps: list[st.SearchStrategy[Any]] = [
        call,
        st.tuples(st.just("map"), NAMES, VALUES, st.lists(PLAIN, min_size=1, max_size=3)),
        st.tuples(st.just("island"), VALUES),
        st.tuples(st.just("wait"), TEXTS.filter(lambda text: bool(text.strip()))),
    ]
    if depth:
        inner = programs(depth - 1)
        steps += [
            st.tuples(st.just("scope"), NAMES, inner),
            st.tuples(st.just("when"), inner, st.one_of(st.none(), inner), VALUES),
        ]
    return st.lists(st.one_of(steps), min_size=1, max_size=4)


def play(program: list[Any], outer: list[Any]) -> list[Any]:
    """Make the calls of a program; the results that it may hand out."""
    known = list(outer)
    for kind, *rest in program:
        known.append(PLAYERS[kind](known, *rest))
    return known[len(outer) :]


def value_of(written: Any, known: list[Any]) -> Any:
    if not (isinstance(written, tuple) and written[:1] == ("ref",)):
        return written
    if not known:
        return None
    found = known[written[1] % len(known)]
    shapes: dict[str, Callable[[], Any]] = {
        "plain": lambda: found,
        "list": lambda: [1, found],
        "tuple": lambda: (found, "$"),
        "dict": lambda: {"$k": found, "z": [found]},
    }
    return shapes[written[2]]()


def play_call(known: list[Any], which: str, name: str | None, options: dict[str, Any], first: Any, second: Any) -> Any:
    used = {"one": one, "halves": halves, "several": several, "asks": asks}[which]
    if which in ("halves", "asks"):  # their outputs have types that few fallbacks fit
        options = {option: value for option, value in options.items() if option != "fallback"}
    used = used.options(**options, **({} if name is None else {"name": name}))
    x, y = value_of(first, known), value_of(second, known)
    if which == "halves":
        return used(x).right
    if which == "several":
        return used(x, y, 3, last=y, extra=x)
    return used(table=x) if which == "asks" else used(x, y=y)


def play_map(known: list[Any], name: str | None, fixed: Any, values: list[Any]) -> Any:
    spread = one.options(name=name or "spread").map(y=value_of(fixed, known), x=each(values))
    return one.options(name="over").map(spread)[0]


def play_scope(known: list[Any], name: str | None, program: list[Any]) -> Any:
    return Pipeline(lambda: play(program, known)[-1], name or "scope")()


def play_when(known: list[Any], then: list[Any], other: list[Any] | None, returned: Any) -> Any:
    condition = one.options(name="asked")(1)

    def chosen() -> Any:
        inner = play(then, known)
        return value_of(returned, inner) if isinstance(returned, tuple) else inner[-1]

    return when(condition, chosen, None if other is None else lambda: play(other, known)[-1])


PLAYERS: dict[str, Callable[..., Any]] = {
    "call": play_call,
    "map": play_map,
    "scope": play_scope,
    "when": play_when,
    "island": lambda known, x: island(value_of(x, known)),
    "wait": lambda known, text: approve(text, timeout="1h"),
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(programs(2), VALUES)
def test_graphs_made_at_random_are_the_same_after_a_round_trip(program: list[Any], returned: Any) -> None:
    def flow() -> Any:
        return value_of(returned, play(program, []))

    round_trip(Pipeline(flow, "flow").trace())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_pipelines_are_the_same_after_a_round_trip(name: str) -> None:
    job = load_job(name, [], {})
    traced = job.pipeline.trace(**job.params)
    back = yaml.safe_load(round_trip(traced))
    assert back["output"] == "$conclude"


@pipeline
def inner(n: int) -> Any:
    made = items.options(name="made")(n)
    return {"all": made, "one": one(made)}


@pipeline
def outer() -> Any:
    found = inner(3)
    again = inner(4)
    key = halves(again["one"]).left
    return when(approve("go on?"), then=lambda: one(one(key, found["all"])), otherwise=lambda: [found["one"], "$"])


def test_a_written_graph_reads_like_one_that_was_written_by_hand() -> None:
    document = yaml.safe_load(round_trip(outer.trace()))
    graph = document["graph"]
    assert list(graph) == ["inner", "inner_2", "halves", "approve", "when"]
    assert graph["inner"]["graph"]["made"] == {
        "uses": "tests.config.loose_stages:items",
        "with": {"n": 3},
    }
    assert graph["inner_2"] == {
        "name": "inner",
        "graph": {
            "made_2": {"uses": "tests.config.loose_stages:items", "name": "made", "with": {"n": 4}},
            "one_2": {"uses": "tests.config.loose_stages:one", "name": "one", "with": {"x": "$made_2"}},
        },
        "output": {"one_2": "$one_2"},
    }
    assert graph["halves"]["with"] == {"x": "$inner_2.one_2"}
    assert graph["when"]["if"] == "$approve"
    assert graph["when"]["then"]["output"] == "$one_4"
    assert graph["when"]["else"] == ["$inner.one", "$$"]
    assert document["output"] == "$when"


def test_what_is_read_back_runs_alike() -> None:
    @pipeline
    def flow(n: int = 2) -> Any:
        parts = halves(items(n))
        return {"n": several(1, 2, last=parts), "tail": parts.right}

    text = written_graph(flow.trace(n=4))
    assert graph_pipeline(parse_pipeline_file(text, "flow"))() == flow(n=4)


def test_a_file_takes_over_what_its_pipeline_has_in_the_cache(tmp_path: Path) -> None:
    kept = Pipeline(lambda: halves(items(2)).left, "kept")
    here = InProcess(tmp_path)
    assert here.run(kept).result() == [0, 1]
    back = graph_pipeline(parse_pipeline_file(written_graph(kept.trace()), "file"))
    assert [(node.node, node.action) for node in here.plan(back).nodes] == [("items", "run"), ("halves", "after")]
    again = here.run(back)
    assert again.result() == [0, 1]
    assert again.fold().nodes["halves"].reused == 1


def test_secrets_and_versions_stay_references() -> None:
    @pipeline
    def flow() -> Any:
        return one(asks(Secret("file:/run/pw")), [version("data:flights@prod"), version("model:x")])

    document = yaml.safe_load(round_trip(flow.trace()))
    assert document["graph"]["asks"]["with"] == {"password": {"$secret": "file:/run/pw"}}
    assert document["graph"]["one"]["with"]["y"] == [{"$version": "data:flights@prod"}, {"$version": "model:x@latest"}]


def refused(flow: Callable[[], Any]) -> str:
    with pytest.raises(ConfigError) as error:
        written_graph(Pipeline(flow, "flow").trace())
    return error.value.message


@stage
def unreachable(x: int) -> int:
    return x


hidden = unreachable
del unreachable


def test_what_yaml_cannot_hold_is_refused_by_the_name_of_the_node() -> None:
    @stage
    def local(x: int) -> int:
        return x

    assert refused(lambda: one(one(1), np.arange(3))) == (
        "node 'one#2': argument 'y': a numpy.ndarray has no form in YAML; this pipeline cannot be written in YAML"
    )
    assert "node 'one': argument 'x': a builtins.bytes has no form" in refused(lambda: one([b"x"]))
    assert "node 'one': argument 'x': a builtins.dict has no form" in refused(lambda: one({1: 2}))
    assert "node 'local': the code of its stage" in refused(lambda: local(1))
    assert "node 'unreachable': " in refused(lambda: hidden(1))
    assert "node 'several': its map goes over several lists for *xs" in refused(lambda: several.map([1], [2]))
    assert "node 'one': option fallback: a builtins.set has no form" in refused(lambda: one.options(fallback={1})())
    assert "what the pipeline returns: a builtins.complex has no form" in refused(lambda: [one(), 1j])
    assert "node 'one' cannot be written in YAML" in refused(lambda: one(math.nan))
    assert "calls no stage" in refused(lambda: 3)


def test_signals_have_names_and_limits() -> None:
    document = yaml.safe_load(round_trip(Pipeline(lambda: one(signal("go", timeout="2h")), "flow").trace()))
    assert document["graph"]["go"] == {"uses": "orchestrator:signal", "with": {"name": "go", "timeout": 7200.0}}


def test_an_exported_file_is_a_file_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(written_graph(outer.trace(), "Written from a test"))
    job = load_job(str(file), ["stages.halves.retries=7", "stages.made.timeout=3s"], {})
    graph = job.pipeline.graph()
    assert graph.node("halves").policy.retry.attempts == 8
    assert {graph.node(name).timeout_s for name in ("inner/made", "inner#2/made")} == {3.0}
