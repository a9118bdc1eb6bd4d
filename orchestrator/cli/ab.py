"""``orc ab``: an A/B experiment as it stands, or as it ended: effect, split, power so far and slices, and its chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.released import Found, releases_of
from orchestrator.cli.ab_documents import (
    ABDocument,
    ABEffectItem,
    ABMomentItem,
    ABPowerItem,
    ABSliceItem,
    ABSplitItem,
    ABVersionItem,
)
from orchestrator.cli.listing import Json
from orchestrator.cli.output import iso, note, table, write, write_json
from orchestrator.errors import NotFound
from orchestrator.serving import Release
from orchestrator.views.ab import ABView, ab_html, ab_lines, ab_svg, ab_tables, ab_view_of

App = Annotated[str, typer.Argument(metavar="APP", help="name of the application")]


def ab(
    app: App,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="of this run; the newest if not given")
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="draw it")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write a page with chart and figures")
    ] = None,
    json: Json = False,
) -> None:
    """Say what an A/B experiment has found so far; looking at it as often as you like changes nothing about it."""
    found, view = _experiment(Installation(), app, run)
    for path, drawn in ((svg, ab_svg), (html, ab_html)):
        if path is not None:
            path.write_text(drawn(view), encoding="utf-8")
            note(f"{path}: {view.title}")
    if json:
        write_json(_document(found, view))
    elif svg is None and html is None:
        write("\n".join(_told(found, view)))


def _experiment(here: Installation, app: str, run: str | None) -> tuple[Found, ABView]:
    other: Found | None = None
    for found in releases_of(here, app, run):
        view = ab_view_of(found.known)
        if view is not None:
            return found, view
        other = other or found
    if other is not None:
        raise NotFound(
            f"{app} has no A/B experiment; its newest release, in run {other.run}, is of the kind "
            f"{other.known.strategy.kind}. Begin one with: orc release model:NAME {app} --how ab --metric METRIC"
        )
    where = "" if run is None else f" in run {run}"
    raise NotFound(f"no release of {app} was found{where}; orc ls lists runs, and --run names one")


def _told(found: Found, view: ABView) -> Iterator[str]:
    yield view.title
    yield f"run {found.run}, step {found.step}: {found.state}"
    yield from ab_lines(view)
    for head, rows in ab_tables(view):
        yield ""
        yield table(head, rows)
    if view.slices:
        yield f"The intervals of all slices together hold with {100 * view.confidence:g} %."


def _document(found: Found, view: ABView) -> ABDocument:
    figures, strategy = view.figures, view.strategy
    detectable = figures.get("detectable_effect")
    record = found.known if isinstance(found.known, Release) else None
    roles: Sequence[tuple[Literal["candidate", "stable"], str]] = (
        ("candidate", view.candidate), ("stable", view.stable),
    )  # fmt: skip
    return ABDocument(
        app=found.known.app, run=found.run, step=found.step, state=found.state,
        outcome=None if record is None else record.outcome, why=view.verdict, metric=strategy.metric,
        better=strategy.better, confidence=view.confidence, began_at=str(iso(found.known.began_at)),
        seen_at=str(iso(view.seen_at)), horizon_s=strategy.horizon_s, min_outcomes=strategy.min_outcomes,
        versions=[
            ABVersionItem(name, role, int(figures[f"{role}_values"]), figures[f"{role}_mean"]) for role, name in roles
        ],
        effect=_effect([figures[key] for key in ("effect", "effect_low", "effect_high") if key in figures]),
        split=ABSplitItem(
            figures["candidate_percent"], strategy.split, figures["ratio_log_e"], view.split_needed, view.split_broken
        ),
        power=None if detectable is None else ABPowerItem(detectable, strategy.min_effect, figures.get("power")),
        slices=[
            ABSliceItem(
                one.name, int(one.candidate_values), int(one.stable_values), one.candidate_mean, one.stable_mean,
                _effect([value for value in (one.difference, one.low, one.high) if value is not None]),
            )
            for one in view.slices
        ],
        trail=[
            ABMomentItem(str(iso(one.time)), _effect(one.effect), *(one.split or (None, None))) for one in view.moments
        ],
    )  # fmt: skip


def _effect(values: Sequence[float]) -> ABEffectItem | None:
    return ABEffectItem(*values) if values else None
