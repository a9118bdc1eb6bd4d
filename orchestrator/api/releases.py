"""Releases: routes of ``/api/v1`` and pages. What they show is in the journal; what they begin is a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from orchestrator.api import release_schemas as s
from orchestrator.api.drawings import SVG, drawing, embedded
from orchestrator.api.forms import form_key, form_of, state_of
from orchestrator.api.pages import Short, run_url, show
from orchestrator.api.place import Place, document, number_cursor, page
from orchestrator.api.problems import Refused
from orchestrator.api.release_documents import app_of, apps_of, detail_of, names_of, release_of
from orchestrator.api.routes import PREFIX, PROBLEM, Cursor, Key, Limit, Text
from orchestrator.api.schemas import Accepted
from orchestrator.app.handover import BACK, OUT
from orchestrator.app.released import MOST_RUNS, Found, WentBack
from orchestrator.app.releasing import SendBack, SendOut
from orchestrator.errors import ConfigError, NotFound
from orchestrator.views.ab import ABView, ab_lines, ab_svg, ab_tables, ab_view_of
from orchestrator.views.release import release_svg, view_of
from orchestrator.views.split import split_svg

ROWS = 50

ReleaseId = Annotated[str, Path(max_length=100, description="id of a release")]
AppName = Annotated[str, Path(max_length=100, description="name of an application")]

LOOKS = {
    "running": "running", "stopped": "waiting", "promoted": "succeeded", "rolled_back": "failed",
    "reported": "skipped", "overruled": "cancelled",
}  # fmt: skip
"""States of releases by the states that they look like."""

WORDS = {
    "running": "under way", "rolled_back": "rolled back",
    "reported": "reported, nothing moved", "overruled": "overruled by somebody",
}  # fmt: skip


def router(place: Place) -> APIRouter:
    """Routes and pages of releases."""
    routes = APIRouter()
    _add_reads(routes, place)
    _add_drawings(routes, place)
    _add_actions(routes, place)
    _add_pages(routes, place)
    _add_forms(routes, place)
    return routes


def _add_reads(routes: APIRouter, place: Place) -> None:
    @routes.get(f"{PREFIX}/apps", response_model=s.AppPage, tags=["releases"], responses=PROBLEM)
    def apps(request: Request) -> Response:
        """Applications, and how their requests are split as far as the record goes."""
        return document(request, s.AppPage(items=apps_of(place.here, place.releases.all())))

    @routes.get(f"{PREFIX}/releases", response_model=s.ReleasePage, tags=["releases"], responses=PROBLEM)
    def all_releases(request: Request, app: Text = "", cursor: Cursor = None, limit: Limit = 50) -> Response:
        """Releases, newest first: those of the last 500 runs, and the last 500 by ``orc release``."""
        found = [one for one in place.releases.all() if isinstance(one, Found) and app in ("", one.known.app)]
        items, following = page(found, number_cursor(cursor), limit)
        return document(request, s.ReleasePage(items=[release_of(place.here, one) for one in items], next=following))

    @routes.get(f"{PREFIX}/releases/{{release}}", response_model=s.ReleaseDetail, tags=["releases"], responses=PROBLEM)
    def one_release(request: Request, release: ReleaseId) -> Response:
        """One release: what was seen, and why it was decided so."""
        return document(request, _detail(place, release)[0])


def _detail(place: Place, release: str) -> tuple[s.ReleaseDetail, Found, list[Found | WentBack]]:
    """A release, and all that happened to its application, newest first."""
    known = place.releases.all()
    found = _found(known, release)
    of_app = [one for one in known if app_of(one) == found.known.app]
    newest = apps_of(place.here, of_app)[0]
    shown = newest.last == "release" and newest.release == found.known.id
    return detail_of(place.here, found, shown), found, of_app


def _found(known: Sequence[Found | WentBack], release: str) -> Found:
    """Raises NotFound."""
    for one in known:
        if isinstance(one, Found) and one.known.id == release:
            return one
    raise NotFound(f"there is no release {release!r} in the last {MOST_RUNS} runs, nor in those of orc release")


def _add_drawings(routes: APIRouter, place: Place) -> None:
    @routes.get(
        f"{PREFIX}/releases/{{release}}/chart.svg", responses=SVG | PROBLEM, response_class=Response, tags=["releases"]
    )
    def chart(request: Request, release: ReleaseId) -> Response:
        """How requests moved over time, and how near each guard came to acting."""
        return drawing(request, release_svg(view_of(_found(place.releases.all(), release).known)))

    @routes.get(
        f"{PREFIX}/releases/{{release}}/experiment.svg", responses=SVG | PROBLEM, response_class=Response,
        tags=["releases"],
    )  # fmt: skip
    def experiment(request: Request, release: ReleaseId) -> Response:
        """The effect of an A/B experiment over time, its split and its slices."""
        view = ab_view_of(_found(place.releases.all(), release).known)
        if view is None:
            raise NotFound(f"release {release} is no A/B experiment; its chart is chart.svg")
        return drawing(request, ab_svg(view))


def _add_actions(routes: APIRouter, place: Place) -> None:
    @routes.post(f"{PREFIX}/releases", response_model=Accepted, status_code=202, tags=["actions"], responses=PROBLEM)
    def release(body: s.NewRelease, key: Key = None) -> Accepted:
        """Begin a release of a model version, in a process of its own; answers with its run."""
        return place.launches.release(_send_out(body), key)

    @routes.post(
        f"{PREFIX}/apps/{{app}}/rollback", response_model=Accepted, status_code=202, tags=["actions"],
        responses=PROBLEM,
    )  # fmt: skip
    def rollback(app: AppName, body: s.NewRollback, key: Key = None) -> Accepted:
        """Give all requests of an application, with its tags, to its last good version; answers with the run."""
        return place.launches.roll_back(SendBack(app=app, to=body.to, keep_tags=body.keep_tags), key)


def _send_out(body: s.NewRelease) -> SendOut:
    given = body.model_dump()
    lists = {name: tuple(given[name]) for name in ("steps", "slices", "beside")}
    return SendOut(**given | lists)


# ---- pages


def _add_pages(routes: APIRouter, place: Place) -> None:
    @routes.get("/releases", include_in_schema=False)
    def list_of_releases(request: Request, app: Short = "", cursor: Short = "") -> Response:
        known = place.releases.all()
        found = [one for one in known if isinstance(one, Found) and app in ("", one.known.app)]
        items, following = page(found, number_cursor(cursor), ROWS)
        rows = [release_of(place.here, one) for one in items]
        return show(
            request, "releases.html", releases=rows, apps=apps_of(place.here, known), following=following,
            asked={"app": app}, names=names_of(place.here, known),
            new={one.app: one.candidate for one in reversed(rows)}, **_names(),
        )  # fmt: skip

    @routes.get("/releases/{release}", include_in_schema=False)
    def release_page(request: Request, release: str) -> Response:
        detail, found, of_app = _detail(place, release)
        view = ab_view_of(found.known)
        backs = [one for one in of_app if isinstance(one, WentBack) and one.at > found.known.began_at]
        row = place.here.journal.run(found.run)
        return show(
            request, "release.html", detail=detail, chart=embedded(release_svg(view_of(found.known))), backs=backs,
            experiment=None if view is None else embedded(ab_svg(view)),
            lines=[] if view is None else [line.split(None, 1) for line in ab_lines(view)],
            tables=[] if view is None else _tables(view), seq=row.seq, live=row.finished_at is None,
            state_token=_token(place), names=names_of(place.here, of_app), **_names(),
        )  # fmt: skip


def _tables(view: ABView) -> list[tuple[str, tuple[Sequence[str], list[tuple[str, ...]]]]]:
    """Tables of an experiment with their titles; they are told apart by their first column."""
    titles = {"version": "Versions", "after": "Effect over time", "slice": "Slices"}
    return [(titles[head[0]], (head, rows)) for head, rows in ab_tables(view)]


def _add_forms(routes: APIRouter, place: Place) -> None:
    @routes.post("/apps/{app}/do", include_in_schema=False)
    async def act(request: Request, app: str) -> Response:
        given = await form_of(request)
        accepted = await run_in_threadpool(_act, place, app, given)
        return RedirectResponse(run_url(accepted.run), 303)


def _act(place: Place, app: str, given: Mapping[str, str]) -> Accepted:
    """Do what a form asks."""
    key, action = form_key(f"/apps/{app}", given), given.get("action", "")
    if action == "rollback":
        asked = SendBack(app=app, to=given.get("to", "").strip() or None, keep_tags="keep_tags" in given)
        return place.launches.roll_back(asked, key)
    if action == "release":
        return place.launches.release(asked_of(app, given), key)
    raise Refused(400, f"there is no action {action!r}")


def asked_of(app: str, given: Mapping[str, str]) -> SendOut:
    """The release that a form asks for; raises ConfigError."""
    try:
        steps = tuple(float(part) for part in given.get("steps", "5,25,100").split(","))
    except ValueError:
        raise ConfigError("steps are percents with commas between them, such as 5,25,100") from None
    return SendOut(
        model=given.get("model", ""), app=app, how=given.get("how", "canary"), steps=steps,
        bake=given.get("bake") or "2m", rollback_if=given.get("rollback_if", ""), alias=given.get("alias", ""),
        metric=given.get("metric", ""),
    )  # fmt: skip


def _token(place: Place) -> str:
    """Changes with every run that moves requests, also one that failed: then a form may be sent again."""
    newest = [row.id for name in (OUT, BACK) for row in place.here.journal.runs(name, limit=1)]
    return state_of(newest)


def release_url(release: str) -> str:
    """Page of a release."""
    return f"/releases/{quote(release, safe='')}"


def app_url(app: str) -> str:
    """Where forms about an application go."""
    return f"/apps/{quote(app, safe='')}/do"


def _names() -> dict[str, Any]:
    return {"looks": LOOKS, "words": WORDS, "release_url": release_url, "app_url": app_url, "split": split_bar}


def split_bar(weights: Mapping[str, float], new: str) -> str:
    """The split as a bar inside a page."""
    return embedded(split_svg(weights, new))
