"""The main job on all its data, as plain calls: figures, gate, serving over HTTP, and what it stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import stages.pipelines.flights as job
from orchestrator.artifacts.signing import Signer
from orchestrator.artifacts.store import open_store
from orchestrator.artifacts.values import StoredValues
from orchestrator.graph.context import StepContext, active
from orchestrator.ports.values import CONTAINERS, Cell, Entry, decode_cell, decode_manifest
from stages.deployment import Predictor
from stages.features import Features
from stages.pipelines.flights import FlightsResult
from stages.training import Fitted, Model

HttpServer = Callable[[Callable[[Any], tuple[int, Any]]], AbstractContextManager[str]]

CONFIG = Path(__file__).parents[2] / "configs" / "flights.yaml"


class Endpoint(NamedTuple):
    app: str
    version: str
    url: str


class LoopbackServing:
    """A serving port in this process: builds the predictor from its payload and answers over HTTP."""

    def __init__(self, http_server: HttpServer, until: ExitStack) -> None:
        self._http_server = http_server
        self._until = until
        self.served: list[Endpoint] = []

    def deploy(
        self, app: str, version: str, predictor: str, payload: bytes, config: dict[str, Any], **_: Any
    ) -> Endpoint:
        model = Predictor(payload, config)
        answering = self._http_server(lambda document: (200, {"predictions": model.predict(document["rows"])}))
        self.served.append(Endpoint(app, version, self._until.enter_context(answering)))
        return self.served[-1]


@pytest.fixture
def serving(http_server: HttpServer) -> Iterator[LoopbackServing]:
    with ExitStack() as until:
        port = LoopbackServing(http_server, until)
        until.enter_context(active(StepContext("run", "flights", uses=("serving",), ports={"serving": port})))
        yield port


@pytest.fixture(scope="module")
def result(datasets: Path) -> FlightsResult:
    return job.flights(trees=40, serve=False, directory=str(datasets))


def test_the_job_passes_its_gate_on_the_month_after_training(result: FlightsResult) -> None:
    assert [report.passed for report in result.quality] == [True, True]
    assert result.quality[0].rows == 336_776
    assert [entry.check for entry in result.quality[0].results if not entry.passed] == [
        "in_range(arr_delay) [-120, 720]"
    ]
    assert result.report.passed
    assert result.report.overall.rows == 28_128
    assert result.report.overall.auc is not None
    assert result.report.overall.auc > 0.73
    assert result.report.comparison is not None
    assert result.report.comparison.low > 0
    assert len(result.report.slices) == 15
    assert result.exercise is None


def test_summer_drifts_and_its_delays_stand_out(result: FlightsResult) -> None:
    delays = {}
    for report in result.drift:
        (delay,) = [entry for entry in report.targets if entry.column == "dep_delay"]
        delays[report.name] = (round(delay.mean_current or 0, 1), delay.level)
    assert delays == {
        "month 6": (20.8, "major"),
        "month 7": (21.7, "major"),
        "month 8": (12.6, "stable"),
        "month 9": (6.7, "moderate"),
    }


def test_the_result_reads_well(result: FlightsResult) -> None:
    text = str(result)
    for part in ("flights: 336776 rows", "gate passed", "against the champion", "not deployed", "month 7: 29425 rows"):
        assert part in text


def test_a_passed_gate_serves_and_asks_over_http(datasets: Path, serving: LoopbackServing) -> None:
    result = job.flights.function(trees=40, requests=25, directory=str(datasets), watch_months=[7])
    assert [endpoint.app for endpoint in serving.served] == ["flights"]
    assert result.exercise is not None
    assert result.exercise.passed
    assert (result.exercise.requests, result.exercise.max_difference) == (25, 0.0)
    assert result.exercise.deployment.version == serving.served[0].version


def test_a_refused_gate_serves_nothing(datasets: Path, serving: LoopbackServing) -> None:
    result = job.flights.function(trees=5, min_auc=0.95, directory=str(datasets), watch_months=[7])
    assert not result.report.passed
    assert result.exercise is None
    assert serving.served == []


def test_the_graph_has_fan_outs_and_a_gate() -> None:
    graph = job.flights.graph()
    assert {node.id for node in graph.nodes if node.is_map} == {"prepare", "transform", "transform#2", "drift"}
    deploying = graph.node("when/then/deploy")
    assert deploying.policy.uses == ("serving",)
    assert [guard.expected for guard in deploying.guards] == [True]
    assert not any(node.name == "deploy" for node in job.flights.graph(serve=False).nodes)


def test_the_config_names_the_pipeline_and_its_parameters() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    module, _, name = config["pipeline"].partition(":")
    assert (module, getattr(job, name)) == (job.__name__, job.flights)
    graph = job.flights.graph(**config["params"])
    assert set(config["stages"]) <= {node.name for node in graph.nodes}


def codecs(cell: Cell) -> Iterator[str]:
    """Names of all codecs inside a stored value."""
    if isinstance(cell, Entry):
        yield cell.codec
        if cell.codec in CONTAINERS and cell.data is not None:
            for child in decode_manifest(cell.data).cells:
                yield from codecs(child)


def test_results_are_stored_without_a_pickle_and_read_back_equal(
    result: FlightsResult, features: Features, fitted: Fitted, tmp_path: Path
) -> None:
    values = StoredValues(open_store(tmp_path / "artifacts"), Signer(tmp_path / "keys"))
    stored: list[Any] = [result, features, fitted, fitted.model, result.report, result.drift]
    for value in stored:
        cell = values.encode(value)
        assert "pickle" not in set(codecs(decode_cell(cell)))
        assert values.encode(values.load(decode_cell(cell)).value) == cell
    back = values.load(decode_cell(values.encode(fitted))).value
    assert is_dataclass(back)
    assert back == fitted
    assert isinstance(back.model, Model)
