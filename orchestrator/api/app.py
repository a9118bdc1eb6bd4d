"""The web application: guard, API, pages and static files over one installation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

import orchestrator
from orchestrator.api import (
    cluster,
    comparing,
    lineage,
    logs,
    metrics,
    models,
    pages,
    pipelines,
    releases,
    routes,
    sweeps,
    triggers,
)
from orchestrator.api.guard import Guard
from orchestrator.api.place import Place
from orchestrator.api.problems import Refused, answer, problem_of, wants_page
from orchestrator.app.installation import Installation
from orchestrator.errors import OrchestratorError

_STATIC = Path(__file__).parent / "static"
_TYPES = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}

_log = logging.getLogger(__name__)


def make_app(installation: Installation, token: str = "", project: Path | None = None) -> FastAPI:
    """The application.

    Args:
        installation: Whose runs are shown.
        token: Wanted from everybody; empty for none, which is for the loopback interface only.
        project: Directory whose pipelines may be started.
    """
    place = Place(installation, project)
    app = FastAPI(
        title="ray-orchestrator", version=orchestrator.__version__, openapi_url=f"{routes.PREFIX}/openapi.json",
        docs_url=None, redoc_url=None, description=(
            "Runs of machine-learning pipelines: what is on record of them, and actions on them. Lists are paged with "
            "`next`; documents have ETags; errors are problem+json with the codes of the reference; requests that "
            "change something need an Idempotency-Key."
        ),
    )  # fmt: skip
    app.include_router(routes.router(place))
    app.include_router(pages.router(place, token))
    app.include_router(metrics.router(installation))
    for family in (releases, models, sweeps, pipelines, cluster, comparing, lineage, logs, triggers):
        app.include_router(family.router(place))

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in _TYPES:
            raise HTTPException(404, f"there is no file {name!r}")
        return FileResponse(_STATIC / name, media_type=_TYPES[name], headers={"Cache-Control": "no-cache"})

    async def failed(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status >= 500:
            _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return pages.problem_page(request, problem) if wants_page(request) else answer(problem)

    kinds: tuple[Any, ...] = (OrchestratorError, Refused, RequestValidationError, HTTPException, Exception)
    for kind in kinds:
        app.add_exception_handler(kind, failed)
    app.add_middleware(Guard, token=token)
    return app
