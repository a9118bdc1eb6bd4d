"""Figures for Prometheus: what they count, that they cost what is new, and that a real Prometheus reads them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.api.server import Web
from orchestrator.app.metering import Metering
from orchestrator.app.runner import Runner
from orchestrator.backends.loopback import free_ports
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing.inprocess import InProcess
from tests.api import flow
from tests.api.conftest import Client, Served, served

TOKEN = "0123456789abcdef"


def figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Samples by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figure(text: str, name: str, **labels: str) -> float:
    """One sample; 0 if there is none."""
    return figures(text).get((name, frozenset(labels.items())), 0.0)


def test_figures_are_those_of_the_runs(get: Client, home: Served) -> None:
    got = get("/metrics")
    assert got.status == 200
    assert got.headers["content-type"].startswith("text/plain")
    text = got.text
    assert figure(text, "orc_runs_ended_total", pipeline="shapes", state="succeeded") == 1
    assert figure(text, "orc_runs_ended_total", pipeline="wide", state="degraded") == 1
    assert figure(text, "orc_runs_ended_total", pipeline="failing", state="failed") == 1
    assert figure(text, "orc_runs", pipeline="asking", state="waiting") == 1
    assert figure(text, "orc_steps_total", pipeline="wide", stage="square", state="succeeded") == 19_996
    assert figure(text, "orc_steps_total", pipeline="wide", stage="square", state="dropped") == 4
    assert figure(text, "orc_step_retries_total", pipeline="shapes", stage="flaky") == 1
    assert figure(text, "orc_step_duration_seconds_count", pipeline="wide", stage="square") == 19_996
    assert figure(text, "orc_step_queue_seconds_count", pipeline="wide", stage="square") == 1
    assert figure(text, "orc_cache_misses_total", pipeline="shapes", stage="load") == 1
    assert figure(text, "orc_cpu_seconds_total", pipeline="wide", stage="square") > 0
    assert 0 < figure(text, "orc_cost_total", pipeline="wide", stage="square", currency="USD") < 0.01
    row = home.process.installation.journal.run(home.runs["wide"])
    assert figure(text, "orc_journal_facts_total", pipeline="wide") == row.seq
    assert 0 < figure(text, "orc_journal_commits_total", pipeline="wide") <= row.seq


def test_no_id_is_a_label(get: Client, home: Served) -> None:
    text = get("/metrics").text
    assert "orc_steps_total" in text
    assert not [run for run in home.runs.values() if run in text]


def test_a_scrape_reads_only_what_is_new(tmp_path: Path) -> None:
    process = InProcess(tmp_path / "home")
    first = process.run(flow.wide, n=300)
    metering, asked = Metering(process.installation), []
    read = process.installation.journal.facts

    def facts(run: str, after: int = 0) -> Any:
        asked.append((run, after))
        return read(run, after)

    process.installation.journal.facts = facts  # type: ignore[method-assign]
    counted, _ = metering.figures()
    assert counted.counters["orc_steps"]["wide\tsquare\tsucceeded"] == 300
    assert {run for run, _ in asked} == {first.id}
    asked.clear()
    metering.figures()
    assert asked == []
    second = process.run(flow.wide, n=200)
    asked.clear()
    counted, _ = metering.figures()
    assert {run for run, _ in asked} == {second.id}
    assert counted.counters["orc_steps"]["wide\tsquare\tsucceeded"] == 500


def test_counts_go_on_where_a_killed_server_left_them(tmp_path: Path) -> None:
    process = InProcess(tmp_path / "home")
    process.run(flow.wide, n=100)
    first, _ = Metering(process.installation).figures()
    again = Metering(process.installation)  # as of a server that starts anew
    process.run(flow.wide, n=100)
    counted, _ = again.figures()
    for name, series in first.counters.items():
        for key, value in series.items():
            assert counted.counters[name][key] >= value
    assert counted.counters["orc_runs_created"]["wide"] == 2
    assert counted.counters["orc_steps"]["wide\tsquare\tsucceeded"] == 200


def test_figures_want_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    web = Web(port=0, token=f"file:{tmp_path / 'token'}")
    with served(tmp_path / "home", lambda process: {}, web) as found:
        assert found.client("/metrics").status == 401
        assert found.client("/metrics", Authorization=f"Bearer {TOKEN}").status == 200


# ---- a real Prometheus


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A Prometheus that scrapes one server; gives its address."""
    program = shutil.which("prometheus")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("prometheus is missing; .ci/run installs it")
        pytest.skip("prometheus is not installed")
    folder.mkdir()
    (folder / "token").write_text(TOKEN)
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: orc\n"
        f"    authorization: {{credentials_file: {folder / 'token'}}}\n"
        f"    static_configs: [{{targets: ['{target}']}}]\n"
    )
    (port,) = free_ports(1)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def query(address: str, expression: str) -> list[Any]:
    """The samples that a Prometheus has; none while it starts."""
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return found


def awaited(address: str, expression: str, wanted: float) -> None:
    """Wait until a Prometheus has scraped a value."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = query(address, expression)
        if found and float(found[0]["value"][1]) == wanted:
            return
        time.sleep(0.2)
    raise AssertionError(f"{expression} is {query(address, expression)}, not {wanted}")


def test_a_real_prometheus_scrapes(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    web = Web(port=0, token=f"file:{tmp_path / 'token'}")

    def run(process: InProcess) -> dict[str, str]:
        return {"wide": Runner(process.installation).run(flow.wide, {"n": 500}, RunOptions(on="local")).id}

    with served(tmp_path / "home", run, web) as found, prometheus(tmp_path / "prom", found.client.host) as address:
        awaited(address, 'up{job="orc"}', 1)
        awaited(address, 'orc_steps_total{stage="square",state="succeeded"}', 500)
        awaited(address, 'sum(orc_step_duration_seconds_count{pipeline="wide"})', 502)
        run(found.process)
        awaited(address, 'sum(orc_runs_ended_total{pipeline="wide"})', 2)
        assert query(address, 'histogram_quantile(0.9, orc_step_duration_seconds_bucket{stage="square"})')
        assert query(address, "prometheus_target_scrapes_sample_duplicate_timestamp_total > 0") == []
