"""``orc cost``, ``orc alerts`` and ``orc send`` on runs of a real home."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import FLOW, Done, Orc
from tests.sinks.receiver import receiving


def test_cost_by_step_pipeline_and_tag(used: tuple[Orc, Done]) -> None:
    orc, _ = used
    (orc.home / "prices.yaml").write_text("currency: EUR\ncpu_hour: 3600\n")
    of_run = orc("cost", orc.newest(), "--json").document("cost")
    assert (of_run["by"], of_run["currency"]) == ("step", "EUR")
    assert of_run["total"]["steps"] == sum(item["steps"] for item in of_run["items"]) > 0
    assert of_run["total"]["amount"] == pytest.approx(sum(item["amount"] for item in of_run["items"]))
    assert 0 <= of_run["slots_idle_share"] <= 1
    by_pipeline = orc("cost", "--json").document("cost")
    assert [(item["name"], item["steps"]) for item in by_pipeline["items"]] == [("numbers", of_run["total"]["steps"])]
    assert by_pipeline["total"]["amount"] == pytest.approx(of_run["total"]["amount"])
    assert [item["name"] for item in orc("cost", "--tag", "team", "--json").document("cost")["items"]] == ["a"]
    assert orc("cost", "--since", "0s", "--json").document("cost")["runs"] == 0
    shown = orc("cost", "--pipeline", "numbers")
    assert (shown.code, "COST EUR" in shown.out, "total" in shown.out) == (0, True, True)
    assert orc("cost", "nothing").code == 4


def test_broken_prices_are_named_by_line(orc: Orc) -> None:
    orc.home.mkdir()
    (orc.home / "prices.yaml").write_text("cpu_hour: cheap\n")
    done = orc("cost")
    assert (done.code, "prices.yaml:1" in done.err) == (2, True)


def test_alerts_are_listed_and_channels_tried(orc: Orc) -> None:
    with receiving() as receiver:
        orc.home.mkdir()
        nothing = orc("alerts")
        assert (nothing.code, "write" in nothing.err) == (0, True)
        (orc.home / "alerts.yaml").write_text(
            f"channels: {{team: {{webhook: {{url: '{receiver.url}/hook'}}}}}}\nrules: [{{on: fail, to: [team]}}]\n"
        )
        assert orc("alerts", "--test", "team").code == 0
        (body,) = receiver.bodies("/hook")
        assert json.loads(body)["title"] == "[orc] a test"
        assert orc("alerts", "--json").document("alerts") == []
        receiver.away = True
        failed = orc("alerts", "--test", "team")
        assert (failed.code, "HTTP Error 400" in failed.err) == (1, True)
        assert orc("alerts", "--test", "other").code == 2


def test_a_command_tells_what_is_switched_on(orc: Orc, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    done = orc("run", f"{FLOW}:numbers", "n=3", f"marker={tmp_path / 'marker'}", ORC_OPENLINEAGE_FILE=str(file))
    assert done.code == 0, done.err
    kinds = [json.loads(line)["eventType"] for line in file.read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("START", "COMPLETE")
    again = orc("send", orc.newest(), "--to", "lineage", ORC_OPENLINEAGE_FILE=str(file))
    assert again.code == 0, again.err
    assert len(file.read_text().splitlines()) == 2 * len(kinds)
    assert orc("send", ORC_OPENLINEAGE_FILE=str(file)).err.startswith("lineage: 0 facts")
    refused = orc("send")
    assert (refused.code, "OTEL_EXPORTER_OTLP_ENDPOINT" in refused.err) == (2, True)


def test_orc_up_tells_people_and_prometheus(orc: Orc) -> None:
    with receiving() as receiver:
        orc.home.mkdir()
        (orc.home / "alerts.yaml").write_text(
            f"channels: {{team: {{webhook: {{url: '{receiver.url}/hook'}}}}}}\n"
            "rules: [{on: fail, to: [team]}]\ngroup: 0\n"
        )
        up = orc.start("up", "--no-ray", "--port", "0", "--json")
        try:
            assert up.stdout is not None
            url = json.loads(up.stdout.readline())["pages"]
            deadline = time.monotonic() + 120
            while not (orc.home / "readers" / "alerts.json").exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            assert orc("run", f"{FLOW}:failing").code == 1
            while not receiver.got and time.monotonic() < deadline:
                time.sleep(0.1)
            with urllib.request.urlopen(f"{url}metrics", timeout=60) as answer:
                figures = answer.read().decode()
        finally:
            up.terminate()
            up.wait(60)
    assert json.loads(receiver.bodies("/hook")[0])["title"] == "[orc] failing failed"
    assert 'orc_runs_ended_total{pipeline="failing",state="failed"} 1.0' in figures
    assert [item["kind"] for item in orc("alerts", "--open", "--json").document("alerts")] == ["fail"]
