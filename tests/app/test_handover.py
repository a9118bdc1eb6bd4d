"""Requests, stage and alias of a model, and versions of data beside it: out together, and back together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestrator import pipeline, stage
from orchestrator.app.handover import last_change, moves_back, moves_given, moves_out
from orchestrator.app.models import Models
from orchestrator.app.runs import Runs
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph import fact as f
from orchestrator.graph.version import parse_version
from orchestrator.ports.journal import Append
from orchestrator.ports.promotion import GateCheck, Wanted
from orchestrator.ports.serving import Endpoint
from orchestrator.testing import InProcess, LocalServing
from stages.deployment.client import Client
from stages.deployment.serving import plain_rows
from stages.pipelines.releasing import send_back, send_out
from stages.training import Model
from tests.stages.churners import customers, learn, offer


@stage(publish="data:people")
def people(rows: int) -> pa.Table:
    return customers(rows)


@pipeline
def publish(model: Model, rows: int) -> Any:
    people(rows)
    return offer(model)


OUT_STEPS, BACK_STEPS = ("release", "hand_over"), ("rollback", "hand_back")


class Killed(Exception):
    """As if the driver's process had ended."""


class Ground:
    """Two versions of a model and of data; v1 answers requests and is champion."""

    def __init__(self, home: Path, serving: LocalServing) -> None:
        self.fatal = ("", "")
        self.serving = serving
        ports = {"serving": serving, "routing": serving}
        self.engine = InProcess(home, ports=ports)
        self.here = self.engine.installation
        self.deploy = serving.deploy
        self._commit = self.here.journal.append
        self.here.journal.append = self._append  # type: ignore[method-assign]
        table = customers()
        for strength, rows in ((1.0, 20), (0.5, 30), (0.2, 40)):
            self.engine.run(publish, model=learn(table, strength), rows=rows)

    def _append(self, append: Append) -> int:
        """The journal's; a driver that is to die at the outcome of a step does so before it is committed, or after."""
        ends = any(self.fatal[0] in getattr(fact, "nodes", [getattr(fact, "node", "")]) for fact in append.facts
                   if isinstance(fact, f.StepsCompleted | f.NodesCompleted))  # fmt: skip
        when, self.fatal = (self.fatal[1], ("", "")) if ends else ("", self.fatal)
        if when == "before":
            raise Killed
        seq = self._commit(append)
        if when == "after":
            raise Killed
        return seq

    def promote(self, number: int, alias: str = "") -> None:
        check = (GateCheck("ok", True),)
        for to in ("staging", "production"):
            self.here.registry.promote(Wanted("model:churn", number, to, "ann", 1.0, checks=check, alias=alias))

    def release(self, number: int, alias: str = "champion", broken: bool = False) -> str:
        model = Models(self.here)[f"churn@v{number}"]
        moves = [astuple(one) for one in moves_out(self.here, model, alias, [f"data:people@v{number}"])]
        given = [astuple(one) for one in moves_given(self.here, model)]
        self.serving.deploy = self.deploy if not broken else self._deploy_broken  # type: ignore[method-assign]
        return self._through(
            send_out, model=model.address, app="churn", how="blue-green", bake="0.2s", min_samples=1, forced="a test",
            promoted=moves, sent_back=given,
        )  # fmt: skip

    def _deploy_broken(self, app: str, version: str, predictor: str, *args: Any, **kwargs: Any) -> Endpoint:
        return self.deploy(app, version, "tests.backends.predictors:Broken", *args, **kwargs)

    def back(self) -> str:
        last = last_change(self.here, "churn")
        assert last is not None
        return self._through(send_back, app="churn", moves=[astuple(one) for one in moves_back(self.here, last)])

    def _through(self, what: Any, **params: Any) -> str:
        """How a run ended, or that it was killed on its way and resumed."""
        try:
            done = self.engine.run(what, **params)
        except Killed:
            left = Runs(self.here).latest()
            if left.state == "running":  # else the last commit was the end of the run as well
                self.engine.resume(left.id)
            return "killed"
        return str(done.finished.outcome if done.finished else "")

    @property
    def traffic(self) -> dict[str, float]:
        known = self.serving.traffic("churn")
        return {} if known is None else dict(known.weights)

    @contextmanager
    def users(self) -> Iterator[None]:
        """Somebody asks all the time."""
        row = plain_rows(customers(1).drop_columns(["left"]))
        over = threading.Event()

        def ask() -> None:
            client = Client(self.serving.status("churn")[0].endpoint.url.rpartition("/")[0], 10.0)
            while not over.wait(0.01):
                client.predict(row)
            client.close()

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def tags(self) -> dict[str, int]:
        found = {name: self.here.registry.standing(name).tags for name in ("model:churn", "data:people")}
        return {f"{name}@{tag}": number for name, tags in found.items() for tag, number in tags.items()}


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with LocalServing() as serving:
        yield Ground(tmp_path, serving)


FIRST = {"model:churn@champion": 1, "data:people@champion": 1, "model:churn@production": 1}
SECOND = {
    "model:churn@champion": 2, "data:people@champion": 2, "model:churn@production": 2, "model:churn@previous": 1,
}  # fmt: skip


def test_tags_go_out_with_a_release_and_back_with_it_when_it_is_sent_back(ground: Ground) -> None:
    ground.promote(1)
    assert ground.release(1) == ""
    assert ground.tags() == FIRST
    ground.promote(2, alias="tried")
    assert ground.release(2, broken=True) == "refused"
    assert ground.tags() == FIRST | {"model:churn@previous": 2, "model:churn@tried": 2}  # nobody had that alias before
    record = ground.here.registry.promotions("model:churn")[0]
    assert (record.number, record.to, record.by.startswith("run send_out-")) == (1, "production", True)


@pytest.mark.parametrize(
    "fatal",
    [("", ""), *((step, when) for step in (*OUT_STEPS, *BACK_STEPS) for when in ("before", "after"))],
)
def test_requests_and_tags_move_together_wherever_a_driver_dies(ground: Ground, fatal: tuple[str, str]) -> None:
    ground.promote(1)
    ground.release(1)
    before = ground.traffic
    ground.promote(2)
    ground.fatal = fatal
    with ground.users():
        interrupted = ground.release(2)
    assert (interrupted == "killed") == (fatal[0] in OUT_STEPS)
    assert ground.tags() == SECOND
    assert ground.traffic != before
    assert ground.back() == ("killed" if fatal[0] in BACK_STEPS else "")
    assert ground.traffic == before
    assert ground.tags() == FIRST | {"model:churn@previous": 2}
    assert ground.back() == ""  # and forth again
    assert ground.tags() == SECOND


def test_back_is_where_it_was_before_the_last_release_that_stayed(ground: Ground) -> None:
    ground.promote(1, alias="tried")
    ground.release(1)
    first = ground.traffic
    ground.promote(2, alias="tried")
    with ground.users():
        ground.release(2)
    second = ground.traffic
    ground.promote(3, alias="tried")
    assert ground.release(3, broken=True) == "refused"
    kept = {"model:churn@tried": 2, "model:churn@previous": 3}
    assert (ground.traffic, ground.tags()) == (second, SECOND | kept)
    ground.back()
    assert (ground.traffic, ground.tags()) == (first, FIRST | {"model:churn@tried": 1, "model:churn@previous": 2})


def test_what_somebody_moved_meanwhile_stays(ground: Ground) -> None:
    ground.promote(1)
    ground.release(1)
    ground.promote(2)
    with ground.users():
        ground.release(2)
    ground.here.registry.tag(parse_version("data:people@v1"), "champion", 5.0)
    ground.here.registry.untag("model:churn", "champion")
    ground.back()
    assert ground.tags() == {"data:people@champion": 1, "model:churn@production": 1, "model:churn@previous": 2}


def test_what_cannot_move_is_refused(ground: Ground) -> None:
    model = Models(ground.here)["churn@v1"]
    assert moves_out(ground.here, model, "", []) == []
    assert moves_given(ground.here, model) == []
    assert last_change(ground.here, "churn") is None
    with pytest.raises(ConfigError, match="only a promotion moves the tag 'production'"):
        moves_out(ground.here, model, "production", [])
    with pytest.raises(NotFound, match="there is no version data:people@v9"):
        moves_out(ground.here, model, "champion", ["data:people@v9"])
