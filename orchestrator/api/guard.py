"""Who may ask: a guard in front of every route, so that a new route is closed before anybody thinks of it.

Without a token the server listens on the loopback interface only, and answers only to its names: a page of another
site cannot reach it through a name of its own (DNS rebinding). With one, every request has to carry it. Requests that
change something must come from pages of this server, or from programs that are no browser.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.problems import Refused, answer, problem_of, wants_page

COOKIE = "orc_session"
LOGIN = "/login"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_OPEN = (LOGIN, "/static/")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def session_of(token: str) -> str:
    """What a browser keeps instead of the token."""
    return hmac.new(token.encode(), b"ray-orchestrator session", hashlib.sha256).hexdigest()


def same(given: str, wanted: str) -> bool:
    """Equal, in a time that does not tell how much of it is."""
    return hmac.compare_digest(given.encode(), wanted.encode())


class Guard:
    """ASGI middleware.

    Args:
        token: Every request must carry it; empty for a server on the loopback interface that wants none.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope)
        try:
            self._check(request)
        except Refused as refused:
            if refused.status == 401 and wants_page(request) and request.method == "GET":
                asked = quote(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
                await RedirectResponse(f"{LOGIN}?next={asked}", 303)(scope, receive, secured)
            else:
                await answer(problem_of(refused))(scope, receive, secured)
            return
        await self._app(scope, receive, secured)

    def _check(self, request: Request) -> None:
        headers = request.headers
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if not self._token and name.lower() not in _LOOPBACK:
            raise Refused(421, f"this server answers to 127.0.0.1 and localhost, not to {name!r}")
        if request.method not in _SAFE:
            _check_origin(headers, host)
        open_to_all = any(request.url.path == path or (path.endswith("/") and request.url.path.startswith(path))
                          for path in _OPEN)  # fmt: skip
        if self._token and not open_to_all and not self._knows(request):
            raise Refused(401, "this server wants its token: send it as Authorization: Bearer TOKEN")

    def _knows(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and same(given.strip(), self._token):
            return True
        return same(request.cookies.get(COOKIE, ""), session_of(self._token))


def _check_origin(headers: Headers, host: str) -> None:
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if origin is not None and urlsplit(origin).netloc != host:
        raise Refused(403, "requests that change something must come from this server's own pages")
    if origin is None and site not in ("same-origin", "none"):
        raise Refused(403, "requests that change something must come from this server's own pages")
