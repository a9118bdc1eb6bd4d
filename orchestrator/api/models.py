"""Models: routes of ``/api/v1`` and pages about versions, their cards, promotions and releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from orchestrator.api import model_schemas as s
from orchestrator.api.describing import iso
from orchestrator.api.forms import form_key, form_of, state_of
from orchestrator.api.pages import Short, run_url, show
from orchestrator.api.place import Place, document, tagged
from orchestrator.api.problems import Refused
from orchestrator.api.release_documents import state_of as release_state
from orchestrator.api.releases import LOOKS, WORDS, asked_of, release_url
from orchestrator.api.routes import PREFIX, PROBLEM, Key, model_versions
from orchestrator.api.schemas import Accepted, ModelPage, ModelVersion
from orchestrator.app.cards import card_of, promotions_of, scores_of
from orchestrator.app.models import Models
from orchestrator.app.models import ModelVersion as Known
from orchestrator.app.outputs import StoredValues
from orchestrator.app.promoting import Promote
from orchestrator.app.released import Found, model_of
from orchestrator.graph.version import parse_version
from orchestrator.ports.promotion import GateCheck
from orchestrator.views.model_card import card_html, card_markdown, card_sections, card_title

Name = Annotated[str, Path(max_length=120, description="name of a model, with or without model:")]
Which = Annotated[str, Path(max_length=80, description="v3, or a tag such as production")]

_CARDS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The card", "content": {"text/html": {}, "text/markdown": {}}}
}


def router(place: Place) -> APIRouter:
    """Routes and pages of models."""
    routes = APIRouter()
    _add_cards(routes, place)
    _add_reads(routes, place)
    _add_pages(routes, place)
    return routes


def _add_cards(routes: APIRouter, place: Place) -> None:
    url = f"{PREFIX}/models/{{name:path}}/{{which}}/card"

    @routes.get(f"{url}.md", responses=_CARDS | PROBLEM, response_class=Response, tags=["models"])
    def markdown(request: Request, name: Name, which: Which) -> Response:
        """The model card as Markdown."""
        version = _version(place, name, which)
        return _file(request, version, card_markdown(card_of(place.here, version)), "md", "text/markdown")

    @routes.get(f"{url}.html", responses=_CARDS | PROBLEM, response_class=Response, tags=["models"])
    def html(request: Request, name: Name, which: Which) -> Response:
        """The model card as a page that is whole in itself."""
        version = _version(place, name, which)
        return _file(request, version, card_html(card_of(place.here, version)), "html", "text/html")


def _file(request: Request, version: Known, text: str, suffix: str, media_type: str) -> Response:
    answer = tagged(request, text.encode(), f"{media_type}; charset=utf-8")
    name = version.address.removeprefix("model:").replace("/", "-")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.{suffix}"'
    return answer


def _add_reads(routes: APIRouter, place: Place) -> None:
    @routes.get(f"{PREFIX}/models/{{name}}", response_model=ModelPage, tags=["models"], responses=PROBLEM)
    def versions(request: Request, name: Name) -> Response:
        """Versions of one model, newest first; for a name with slashes ask /models?name=."""
        found = model_versions(place, name)
        if not found:
            _version(place, name, "latest")  # says what there is instead
        return document(request, ModelPage(items=found))

    @routes.get(
        f"{PREFIX}/models/{{name:path}}/{{which}}", response_model=s.ModelDetail, tags=["models"], responses=PROBLEM
    )
    def one_version(request: Request, name: Name, which: Which) -> Response:
        """One version of a model: where it stands, what it was made of, its gates, promotions and card."""
        return document(request, detail_of(place, _version(place, name, which)))

    @routes.post(
        f"{PREFIX}/models/{{name:path}}/{{which}}/promotions", response_model=Accepted, tags=["actions"],
        responses=PROBLEM,
    )  # fmt: skip
    def promote(name: Name, which: Which, body: s.NewPromotion, key: Key = None) -> Accepted:
        """Move a version to another stage; answers when it is done, after the checks that this takes."""
        version = _version(place, name, which)
        return place.launches.promote(Promote(model=version.address, **body.model_dump()), key)


def _version(place: Place, name: str, which: str) -> Known:
    return Models(place.here)[f"{name}@{which}"]


def detail_of(place: Place, version: Known) -> s.ModelDetail:
    """One version of a model."""
    here, row, seen, made = place.here, version.row, version.description, version.lineage
    cell = version.card_cell()
    return s.ModelDetail(
        model=ModelVersion(
            name=row.name, version=row.number, stage=version.stage, tags=list(row.tags), digest=row.digest,
            run=row.run, step=row.node, at=iso(row.at) or "",
        ),
        address=version.address, type=seen.type, size_bytes=seen.size, scores=scores_of(here, version),
        lineage=None if made is None else s.Lineage.model_validate(_plain(asdict(made))),
        gates=_gates(version.gates),
        promotions=[
            s.Promotion(
                before=one.before, to=one.to, replaced=one.replaced, by=one.by, why=one.why, at=iso(one.at) or "",
                forced=one.forced, alias=one.alias, run=one.run, checks=_gates(one.checks),
            )
            for one in promotions_of(here, version)
        ],
        card=None if cell is None else StoredValues(here).data(cell), card_url=card_url(row.name, row.number),
    )  # fmt: skip


def _gates(checks: Any) -> list[s.Gate]:
    found: list[GateCheck] = list(checks)
    return [s.Gate(name=one.name, passed=one.passed, said=one.said) for one in found]


def _plain(made: Mapping[str, Any]) -> dict[str, Any]:
    return {**made, "hosts": list(made["hosts"]), "sources": list(made["sources"])}


# ---- pages


def _add_pages(routes: APIRouter, place: Place) -> None:
    @routes.get("/models", include_in_schema=False)
    def models(request: Request, name: Short = "") -> Response:
        return show(request, "models.html", versions=model_versions(place, name), model_url=model_url)

    @routes.get("/models/{name:path}/{which}", include_in_schema=False)
    def model(request: Request, name: str, which: str) -> Response:
        version = _version(place, name, which)
        detail, view = detail_of(place, version), card_of(place.here, version)
        sent = [one for one in place.releases.all() if isinstance(one, Found)]
        of_it = [one for one in sent if model_of(place.here, one.run) == version.address]
        return show(
            request, "model.html", detail=detail, title=card_title(view), card=card_sections(view),
            sent=[(one, LOOKS[release_state(one)], WORDS.get(release_state(one), release_state(one))) for one in of_it],
            apps=sorted({one.known.app for one in sent}), model_url=model_url, release_url=release_url,
            state_token=state_of(len(detail.promotions), [one.run for one in of_it[:1]]), stages=STAGES,
        )  # fmt: skip

    @routes.post("/models/{name:path}/{which}/do", include_in_schema=False)
    async def act(request: Request, name: str, which: str) -> Response:
        given = await form_of(request)
        return RedirectResponse(await run_in_threadpool(_act, place, name, which, given), 303)


STAGES = ("dev", "staging", "production")


def _act(place: Place, name: str, which: str, given: Mapping[str, str]) -> str:
    """Do what a form asks; the page to show then."""
    key, action = form_key(f"/models/{name}/{which}", given), given.get("action", "")
    model = _version(place, name, which).address
    if action == "promote":
        asked = Promote(
            model=model,
            to=given.get("to", ""),
            by=given.get("by", "").strip() or "page",
            why=given.get("why", ""),
            force="force" in given,
            alias=given.get("alias", "").strip(),
        )
        place.launches.promote(asked, key)
        return model_url(name, which)
    if action == "release":
        app = given.get("app", "").strip()
        return run_url(place.launches.release(asked_of(app, {**given, "model": model}), key).run)
    raise Refused(400, f"there is no action {action!r}")


def model_url(name: str, which: str | int) -> str:
    """Page of a version; ``which`` is a number, or as it is written."""
    written = f"v{which}" if isinstance(which, int) else which
    return f"/models/{quote(parse_version(_full(name)).name.removeprefix('model:'))}/{quote(written, safe='')}"


def card_url(name: str, number: int) -> str:
    """Where the card is, but for its suffix."""
    return f"{PREFIX}/models/{quote(name.removeprefix('model:'))}/v{number}/card"


def _full(name: str) -> str:
    return name if name.startswith("model:") else f"model:{name}"
