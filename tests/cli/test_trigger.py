"""``orc trigger``, and ``orc up`` that fires: what was accepted runs once, also if it is killed in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.conftest import Orc
from tests.cli.trigger_project import write_project

PATIENCE_S = 240.0
CLOUD = "application/cloudevents+json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


@contextmanager
def up(orc: Orc, project: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``orc up`` in the project, and its address; ended if it is not by then."""
    process = subprocess.Popen(
        orc.command("up", "--no-ray", "--port", "0", "--json"), cwd=project, env=orc.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["pages"]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(90)


def asked(url: str) -> Any:
    with urlopen(url, timeout=60) as answer:
        return json.load(answer)


def post(url: str, body: object, **headers: str) -> tuple[int, Any]:
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    try:
        with urlopen(Request(url, json.dumps(body).encode(), sent, method="POST"), timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def until(look: Callable[[], Any], condition: Callable[[Any], object]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not condition(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_triggers_are_listed_shown_paused_and_asked_without_a_server(orc: Orc, project: Path) -> None:
    def trigger(*arguments: str) -> Any:
        return orc("trigger", *arguments, cwd=project)

    told = trigger("list", "--json").document("triggers")
    assert [(one["pipeline"], one["kind"]) for one in told] == [
        ("after", "artifact"), ("churn", "cron"), ("churn", "webhook"), ("ticking", "cron"),
    ]  # fmt: skip
    nightly = told[1]["id"]
    assert (told[1]["declared"]["misfire"], told[1]["concurrency"], told[3]["concurrency"]) == ("skip", 1, 1)
    shown = trigger("show", nightly)
    assert (shown.code, "30 2 * * * (Europe/Berlin)" in shown.out, shown.out.count("next ")) == (0, True, 5)
    assert "02:30:00 CE" in shown.out
    listed = trigger()
    assert ("nothing fires now: start orc up here" in listed.err, nightly in listed.out) == (True, True)
    paused = trigger("pause", nightly, "--json").document("trigger")
    assert (paused["trigger"]["state"], paused["upcoming"], paused["scheduler"]) == ("paused", [], None)
    assert "paused by" in trigger("show", nightly).out
    assert trigger("resume", nightly, "--json").document("trigger")["trigger"]["state"] == "active"
    fired = trigger("fire", "retrain", "rows=2", "--key", "mine")
    assert (fired.code, "nothing fires before orc up" in fired.err) == (0, True)
    assert trigger("fire", "retrain", "label=12").code == 0  # text is wanted, and it is text
    for arguments, code, said in (
        (("show", "nothing"), 4, "there is no trigger 'nothing'"),
        (("show", "churn"), 4, "more than one trigger"),
        (("fire", "retrain", "rows=many"), 2, "params.rows: 'many' is not of type 'integer'"),
        (("fire", "retrain", "raws=1"), 2, "params.raws"),
        (("fire", "retrain", "rows=3", "--key", "mine"), 1, "came with other values"),
        (("pause",), 2, "orc trigger pause TRIGGER"),
    ):
        done = trigger(*arguments)
        assert (done.code, said in done.err) == (code, True), done.err


@pytest.mark.slow
def test_what_was_accepted_runs_once_although_orc_up_is_killed(orc: Orc, project: Path) -> None:
    orc("trigger", "fire", "retrain", "label=hand", "--key", "mine", cwd=project)
    with up(orc, project) as (process, url):
        events = f"{url}api/v1/triggers/retrain/events"
        until(lambda: asked(f"{url}api/v1/triggers")["unread"], lambda unread: not unread)
        first = post(events, {"params": {"label": "event"}}, Idempotency_Key="e1")
        cloud = {
            "specversion": "1.0",
            "id": "7",
            "source": "/lake",
            "type": "day.closed",
            "data": {"params": {"day": 9}},
        }
        second = post(events, cloud, Content_Type=CLOUD)
        assert (first[0], second[0]) == (202, 202), (first, second)
        refused = post(events, {"params": {"rows": "x"}}, Idempotency_Key="e2")
        assert (refused[0], refused[1]["detail"]) == (400, "params.rows: 'x' is not of type 'integer'")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    with up(orc, project) as (_, url):
        events = f"{url}api/v1/triggers/retrain/events"
        assert post(events, {"params": {"label": "event"}}, Idempotency_Key="e1")[0] == 202  # the client tries again
        assert post(events, cloud, Content_Type=CLOUD)[0] == 202

        def churned() -> list[Any]:
            found: list[Any] = asked(f"{url}api/v1/runs?pipeline=churn")["items"]
            return found

        until(churned, lambda runs: sum(run["state"] == "succeeded" for run in runs) == 3)
        until(lambda: asked(f"{url}api/v1/runs?pipeline=ticking")["items"], lambda runs: len(runs) >= 2)
        orc("trigger", "pause", "ticking.cron", cwd=project)
        until(lambda: asked(f"{url}api/v1/runs?pipeline=after")["items"], lambda runs: runs)
        firings = until(
            lambda: asked(f"{url}api/v1/triggers/churn.webhook")["firings"],
            lambda found: all(one["state"] == "over" for one in found),
        )
        assert [one["by"] for one in firings] == ["webhook", "webhook", "by hand"]
        runs = churned()
        assert len(runs) == 3
        begun = sorted((run["started_at"], run["finished_at"]) for run in runs)
        assert all(one[1] <= other[0] for one, other in pairwise(begun))  # one at a time
        whats = sorted(run["tags"]["trigger.what"] for run in runs)
        assert whats == ["an event", "day.closed 7 from /lake", "fired by hand"]
        newest = asked(f"{url}api/v1/runs/{runs[0]['id']}")
        assert newest["run"]["tags"]["trigger"].startswith("churn.webhook.")
        assert "by trigger churn.webhook." in orc("show", runs[0]["id"]).out
        with urlopen(Request(f"{url}runs/{runs[0]['id']}", headers={"Accept": "text/html"}), timeout=60) as page:
            assert f'href="/triggers/{newest["run"]["tags"]["trigger"]}"' in page.read().decode()
        ticks = [run["tags"]["trigger.at"] for run in asked(f"{url}api/v1/runs?pipeline=ticking&limit=100")["items"]]
        assert len(set(ticks)) == len(ticks)


@pytest.mark.slow
def test_of_two_one_fires_and_the_other_takes_over(orc: Orc, project: Path) -> None:
    (project / "configs" / "ticking.yaml").unlink()
    with up(orc, project) as (first, one), up(orc, project) as (_, other):
        for url in (one, other):
            until(
                lambda url=url: asked(f"{url}api/v1/triggers"), lambda found: found["scheduler"] and not found["unread"]
            )
        both = [post(f"{url}api/v1/triggers/retrain/events", {}, Idempotency_Key="k") for url in (one, other)]
        assert [status for status, _ in both] == [202, 202]
        before = asked(f"{other}api/v1/triggers")["scheduler"]
        until(lambda: asked(f"{other}api/v1/runs?pipeline=churn&state=succeeded")["items"], lambda runs: len(runs) == 1)
        os.kill(first.pid, signal.SIGKILL)
        first.wait(60)
        assert post(f"{other}api/v1/triggers/retrain/events", {}, Idempotency_Key="l")[0] == 202
        until(lambda: asked(f"{other}api/v1/runs?pipeline=churn&state=succeeded")["items"], lambda runs: len(runs) == 2)
        assert asked(f"{other}api/v1/triggers")["scheduler"] != before == f"process {first.pid}"
        assert len(asked(f"{other}api/v1/runs?pipeline=churn")["items"]) == 2
