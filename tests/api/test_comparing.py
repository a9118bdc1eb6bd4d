"""Runs compared: the document and the page."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import pytest

from orchestrator.app.comparing import compared
from orchestrator.app.sources import source_changes
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.testing.inprocess import InProcess
from tests.api import flow
from tests.api.conftest import Served, served


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two runs of one pipeline with other parameters, and a third that is like the first."""

    def make(process: InProcess) -> dict[str, str]:
        return {name: process.run(flow.shapes, n=n).id for name, n in (("a", 5), ("b", 6), ("again", 5))}

    with served(tmp_path_factory.mktemp("pair") / "home", make) as found:
        yield found


def test_what_differs_first_and_why(pair: Served) -> None:
    found = pair.client.api(f"/compare?run={pair.runs['a']}&run={pair.runs['b']}")
    assert (found["first"]["address"], found["first"]["causes"]) == ("load", ["n is 6 instead of 5"])
    assert [(row["name"], row["values"]) for row in found["params"]] == [("n", ["5", "6"])]
    told = {step["address"]: step for step in found["steps"]}
    assert told["table"]["causes"] == ["its input load differs"]
    assert (told["flaky"]["equal"], told["flaky"]["previews"]) == (True, ["1", "1"])
    assert all(row["equal"] for row in found["code"])
    assert {"Python", "capsule", "seed"} <= {row["name"] for row in found["environment"]}
    assert [(one["name"], one["values"]) for one in found["series"]] == [("flaky auc", [[0.5, 0.5], [0.5, 0.5]])]


def test_runs_of_the_same_thing_are_identical(pair: Served) -> None:
    found = pair.client.api(f"/compare?run={pair.runs['a']}&run={pair.runs['again']}")
    assert (found["identical"], found["first"]) == (True, None)
    assert "Every step gave the same" in pair.client.page(f"/compare?run={pair.runs['a']}&run={pair.runs['again']}")


def test_changed_code_is_shown_line_by_line(pair: Served) -> None:
    here = pair.process.installation
    digests = [_capsule(here.artifacts, f"def f():\n    return {number}\n") for number in (1, 2)]
    (change,) = source_changes(here, *digests)
    assert change.lines[1:] == [" def f():", "-    return 1", "+    return 2"]
    assert source_changes(here, digests[0], "0" * 64) == []


def _capsule(store: ArtifactStore, text: str) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("project/f.py", text)
    return store.put(packed.getvalue())


def test_the_page_says_all_and_what_cannot_be_compared_is_refused(pair: Served) -> None:
    a, b = pair.runs["a"], pair.runs["b"]
    page = pair.client.page(f"/compare?run={a}&run={b}")
    assert ("n is 6 instead of 5" in page, "flaky" in page) == (True, True)  # a curve of it is drawn
    assert "<title>flaky auc over its reports</title>" in page
    assert ">flaky</th>" not in page
    assert ">flaky</th>" in pair.client.page(f"/compare?run={a}&run={b}&all=1")
    chosen = pair.client.page(f"/compare?run={a}")
    assert (f'name="run" value="{b}"' in chosen, chosen.count(f'value="{a}"')) == (True, 2)
    for asked in ("", f"?run={a}", f"?run={a}&run={a}"):
        assert pair.client(f"/api/v1/compare{asked}").status == 400
    assert pair.client(f"/api/v1/compare?run={a}&run=nothing").status == 404


def test_outputs_that_are_too_many_are_compared_by_where_they_are(
    pair: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.app.comparing._MOST_STEPS", 0)
    found = compared(pair.process.installation, [pair.runs["a"], pair.runs["b"]])
    told = {step.address: step.differing for step in found.steps}
    assert told["load"] is None
