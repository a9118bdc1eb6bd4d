"""Errors as answers: problem+json for programs, a page for people, with the same code, message and status."""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import errors
from orchestrator.api.schemas import Problem

MEDIA_TYPE = "application/problem+json"

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.NotFound, 404),
    (errors.ArtifactMissing, 410),
    (errors.ArtifactUnreadable, 422),
    (errors.StoreUnavailable, 503),
    (errors.ClusterUnreachable, 503),
    (errors.RunError, 409),
    (errors.PromotionRefused, 409),
    (errors.UserError, 400),
)
_TITLES = {401: "Not authorized", 403: "Refused", 404: "Not found", 405: "Method not allowed", 421: "Unknown host"}


class Refused(Exception):
    """A request that is refused before it reaches anything of ours."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem_of(error: Exception) -> Problem:
    """What is told of an error; of one that is not ours nothing but that it happened."""
    if isinstance(error, Refused):
        return _plain(error.status, error.detail)
    if isinstance(error, HTTPException):
        return _plain(error.status_code, str(error.detail))
    if isinstance(error, RequestValidationError):
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return Problem(type=_type("ORC-140"), title="Invalid request", status=422, detail=told, code="ORC-140")
    if isinstance(error, errors.OrchestratorError):
        status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
        title = type(error).__name__
        return Problem(type=_type(error.code), title=title, status=status, detail=error.message, code=error.code)
    return _plain(500, "the server failed; its log says why")


def answer(problem: Problem) -> Response:
    """A problem as an answer to a program."""
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else None
    return Response(problem.model_dump_json(), problem.status, headers, MEDIA_TYPE)


def wants_page(request: Request) -> bool:
    """Whether a person asks: not for the API, and with a browser."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def _plain(status: int, detail: str) -> Problem:
    return Problem(
        type="about:blank", title=_TITLES.get(status, "Failed" if status >= 500 else "Refused"), status=status,
        detail=detail, code="ORC-000" if status >= 500 else "ORC-100",
    )  # fmt: skip


def _type(code: str) -> str:
    return f"urn:ray-orchestrator:error:{code}"
