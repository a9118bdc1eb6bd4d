"""Everything that notebooks show: whole in itself, escaped, the same in text, and no code of authors runs for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator import pipeline, stage, sweep
from orchestrator.app.models import Models
from orchestrator.app.released import Releases
from orchestrator.app.versions import Versions
from orchestrator.errors import NotFound
from orchestrator.graph.display import Shown
from orchestrator.serving import Canary, Release
from orchestrator.serving.trail import Moment, Trail
from tests.api import flow
from tests.notebook.conftest import Made
from tests.notebook.page import Page


@stage
def score(rate: float) -> dict[str, float]:
    return {"auc": 1 - rate}


@pipeline
def needing(path: str, n: int = 3) -> int:
    """Takes a path that nobody gave."""
    return flow.total(flow.load(n))


@pipeline
def miswired(n: int = 3) -> int:
    return flow.total(n)  # type: ignore[arg-type]


def released(made: Made | None) -> Release:
    moments = [Moment(0.0, 5.0, 10, {"error_rate > 0.01": 0.2}), Moment(9.0, 25.0, 40, {"error_rate > 0.01": 1.0})]
    strategy = Canary(steps=(5, 100), bake="10s", rollback_if="error_rate > 0.01")
    return Release(
        "r1", "churn", "v2", "v1", strategy, "rolled_back", "guard", "it failed <often>", (), 40, 1, 0.0, 9.0, "itself",
        Trail(tuple(moments)), {},
    )  # fmt: skip


SHOWN: dict[str, tuple[Callable[[Made], Any], str, str]] = {
    "pipeline": (lambda made: flow.shapes, "flaky", "├─ load"),
    "pipeline with needs": (lambda made: needing, "Give path to see its graph", "<pipeline needing(path, n)>"),
    "pipeline that is wrong": (lambda made: miswired, "list[int]", "miswired"),
    "graph": (lambda made: flow.asking.graph(), "Ship it?", "Ship it?"),
    "plan": (lambda made: made.process.plan(flow.shapes), "stored output, same code", "1 step reused"),
    "run": (lambda made: made.shapes, "succeeded", "├─ ✓ load"),
    "failed run": (lambda made: made.failing, "the list has no <end>", "✗ broken"),
    "step": (lambda made: made.shapes["flaky"], "OSError: not yet", "flaky"),
    "failed step": (lambda made: made.failing["broken"], "flow.py:", "in _inner"),
    "map": (lambda made: made.wide["square"], "4999 is not liked", "5,099 succeeded"),
    "item": (lambda made: made.wide["square", 7], "49", "-> 49"),
    "table": (lambda made: made.shapes["table"].artifact, "80 rows × 2 columns", "Table"),
    "data": (lambda made: made.shapes["load"].artifact, "79", "list"),
    "parts": (lambda made: made.shapes["parts"].artifact, "looks like", "Parts"),
    "picture": (lambda made: made.shapes["picture"].artifact, "ndarray", "ndarray"),
    "pickle": (lambda made: made.shapes["pickled"].artifact, "could run code", "Opened"),
    "model": (lambda made: Models(made.process.installation)["toy"], "Lineage", "model:toy@v1"),
    "version": (lambda made: Versions(made.process.installation)["model:toy"], "width", "model:toy@v1"),
    "release": (released, "it failed <often>", "rolled back"),
    "sweep": (lambda made: sweep(score, over={"rate": [0.1, 0.2]}, metric="auc"), "2 trials", "'rate': 0.1"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_it_shows_itself(name: str, made: Made) -> None:
    find, says, in_text = SHOWN[name]
    found = find(made)
    assert isinstance(found, Shown)
    bundle = found._repr_mimebundle_(include=None, exclude=None)
    assert set(bundle) == {"text/html", "text/plain"}
    page = Page(bundle["text/html"])
    assert page.faults == []
    assert says in page.text
    assert in_text in bundle["text/plain"]
    assert found._repr_html_() is not None


def test_notebooks_do_not_lay_labels_over_values_and_dark_ones_get_dark_drawings(made: Made) -> None:
    """JupyterLab floats every ``dt``, stripes tables and says nothing to media queries of its theme."""
    html = made.shapes._repr_mimebundle_()["text/html"]
    assert ".orc.orc.orc dt,.orc.orc.orc dd{float:none" in html
    assert ',.dark) .orc [fill="#f6f8fb"]{fill:#1b2128}' in html
    best = sweep(score, over={"rate": [0.1, 0.2]}, metric="auc")._repr_mimebundle_()["text/html"]
    assert (best.startswith('<div class="orc">'), ".orc polyline.rank4{stroke:#58b2ea}" in best) == (True, True)


@stage(effects=True)
def release_of(app: str) -> Release:
    return replace(released(None), app=app)


@pipeline
def releasing(app: str = "churn") -> Release:
    return release_of(app)


def test_releases_are_found_by_their_application(made: Made) -> None:
    made.process.run(releasing, app="other")
    known = Releases(made.process.installation)
    assert known["other"].candidate == "v2"
    assert "rolled back" in known["other"]._repr_mimebundle_()["text/plain"]
    assert known.list("nobody") == []
    with pytest.raises(NotFound, match="no release of nobody"):
        known["nobody"]


def test_nothing_is_unpickled_to_be_shown(made: Made) -> None:
    flow.OPENED.clear()
    made.shapes["pickled"]._repr_mimebundle_()
    made.shapes["pickled"].artifact._repr_mimebundle_()
    made.shapes.view()
    assert flow.OPENED == []
    made.shapes["pickled"].artifact.value()
    assert flow.OPENED == ["unpickled"]


def test_a_large_graph_is_cut_and_its_steps_are_counted(made: Made) -> None:
    @pipeline
    def many() -> list[int]:
        return [flow.total([n]) for n in range(130)]

    bundle = many._repr_mimebundle_()
    assert "the first 100 of 130 nodes" in Page(bundle["text/html"]).text
    assert bundle["text/plain"].endswith("… and 30 more")


def test_an_artifact_says_what_it_is_before_it_is_loaded(made: Made) -> None:
    table = made.shapes["table"].artifact
    assert table.description.length == 80
    assert len(table.digest) > 12
    assert table.value().num_rows == 80
    assert [one.value() for one in made.wide["square"].artifacts[:3]] == [0, 1, 4]
    assert made.wide["square"].artifacts[2].name == "square[2]"
    with pytest.raises(NotFound, match="name one"):
        made.wide["square"].artifact  # noqa: B018


def test_a_value_whose_bytes_are_gone_says_so(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made.process.run(flow.shapes, n=81)
    gone = run["table"].artifact
    made.process.installation.artifacts.delete(gone.digest)
    page = Page(gone._repr_mimebundle_()["text/html"])
    assert gone.digest[:12] in page.text
    assert "80 rows" not in page.text
    assert page.faults == []
