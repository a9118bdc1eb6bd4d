"""Pictures of releases and experiments: what is there to see, and that any text makes well-formed XML."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from orchestrator.serving import AB, Canary, Release, Strategy, advance, begin
from orchestrator.views.ab import ab_svg, ab_view_of
from orchestrator.views.panel import Panel
from orchestrator.views.release import release_svg, view_of
from tests.serving.world import APP, CANDIDATE, STABLE, Behaviour, World, drive

SVG = "{http://www.w3.org/2000/svg}"
CANARY = Canary(bake="4s", min_samples=20, rollback_if="error_rate > 0.03")


def recorded(strategy: Strategy, candidate: Behaviour, stable: Behaviour, app: str = APP) -> Release:
    world = World(behaviours={STABLE: stable, CANDIDATE: candidate})
    record = drive(begin("r1", app, CANDIDATE, strategy, world.traffic, world.now), world)
    assert record is not None
    return record


def texts(svg: str) -> str:
    return "\n".join(element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text"))


def test_a_guard_that_acted_stands_out() -> None:
    svg = release_svg(view_of(recorded(CANARY, Behaviour(0.4), Behaviour(0.01))))
    said = texts(svg)
    assert "churn: v2 rolled back" in said
    assert "error_rate > 0.03" in said
    assert "slower than the stable version" in said
    assert "Watched too, and quiet" in said
    bold = [e.text for e in ElementTree.fromstring(svg).iter(f"{SVG}text") if e.get("fill") == "#c44601"]
    assert any(text and "error" in text for text in bold[1:])


def test_a_promotion_shows_every_step() -> None:
    record = recorded(CANARY, Behaviour(0.01), Behaviour(0.01))
    lines = [e.get("points") or "" for e in ElementTree.fromstring(release_svg(view_of(record))).iter(f"{SVG}polyline")]
    heights = {point.split(",")[1] for point in lines[0].split()}
    assert len(heights) == 3


def test_a_release_under_way_and_one_that_has_not_begun() -> None:
    world = World()
    state = begin("r1", "a <b> & c", CANDIDATE, CANARY, world.traffic, world.now)
    assert "No request has moved" in texts(release_svg(view_of(state)))
    for _ in range(3):
        state, instructions = advance(state, world.seen(), world.now)
        for instruction in instructions:
            world.route(instruction.traffic)  # type: ignore[union-attr]
        world.batch(40)
    said = texts(release_svg(view_of(state)))
    assert "a <b> & c: v2 under way, step 1 of 3" in said
    assert "more errors than the stable version" in said


@pytest.mark.parametrize(("converts", "said"), [(0.8, "better beyond doubt"), (0.4, "no difference beyond doubt")])
def test_an_experiment(converts: float, said: str) -> None:
    strategy = AB(metric="conversion", bake="4s", horizon="12s", min_effect=0.1)
    view = ab_view_of(recorded(strategy, Behaviour(converts=converts), Behaviour(converts=0.4)))
    assert view is not None
    svg = ab_svg(view)
    shown = texts(svg)
    assert said in shown
    assert "50 % were asked for; as it should be" in shown
    assert "of 0.1, the smallest that matters" in shown
    assert len(list(ElementTree.fromstring(svg).iter(f"{SVG}polygon"))) == 1


def test_an_experiment_with_too_few_values_and_what_is_none() -> None:
    world = World()
    strategy = AB(metric="conversion")
    view = ab_view_of(begin("r1", APP, CANDIDATE, strategy, world.traffic, world.now))
    assert view is not None
    assert "before each version has 100 values" in texts(ab_svg(view))
    assert ab_view_of(begin("r1", APP, CANDIDATE, CANARY, world.traffic, world.now)) is None


@pytest.mark.parametrize("lasted", [0.4, 7, 59, 61, 3599, 86_400, 30 * 86_400, 400 * 86_400])
def test_times_are_few_and_inside(lasted: float) -> None:
    ticks = list(Panel(0, 0, 700, 100, 1000.0, 1000.0 + lasted).times())
    assert 2 <= len(ticks) <= 14
