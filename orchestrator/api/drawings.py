"""Drawings with a style sheet of their own: as documents they keep it, inside pages the page's own sheet takes over.

The content security policy of pages allows no styles inside them; ``static/style.css`` has the same rules.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.api.place import tagged

SVG: dict[int | str, dict[str, Any]] = {
    200: {"description": "A drawing", "content": {"image/svg+xml": {"schema": {"type": "string"}}}}
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = re.compile(r"<style>.*?</style>\n?", re.DOTALL)


def drawing(request: Request, svg: str) -> Response:
    """A drawing as a document, which may have styles but nothing else."""
    answer = tagged(request, svg.encode(), "image/svg+xml")
    answer.headers["Content-Security-Policy"] = _POLICY
    return answer


def embedded(svg: str) -> str:
    """A drawing for a page."""
    return _STYLE.sub("", svg)
