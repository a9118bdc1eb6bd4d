"""Tables from HTTP interfaces that answer with JSON, page by page.

Three ways of paging are known: the answer names the next page, the answer holds a token for it, or pages are counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit
from urllib.request import Request, urlopen

import pyarrow as pa

from orchestrator import Retry, stage
from orchestrator.errors import ConfigError
from stages.columns import cast_columns, require_columns
from stages.errors import DataRejected, SourceUnavailable

Paging = Literal["none", "link", "token", "page", "offset"]

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT_S = 60.0
_LARGEST_PAGE_BYTES = 256 * 1024 * 1024


@stage(retries=Retry(attempts=5, on=(SourceUnavailable,)), timeout="1h")
def read_http(
    url: str,
    rows: str = "",
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    paging: Paging = "none",
    next_field: str = "next",
    parameter: str = "page",
    page_rows: int = 100,
    max_pages: int = 10_000,
    timeout_s: float = 30.0,
) -> pa.Table:
    """Rows of all pages of an answer.

    Args:
        rows: Where the rows are in an answer, as ``data.items``; empty if the answer is the list itself.
        columns: Fields of each row to keep; all fields of the first page's rows when not given.
        types: Arrow type names by column.
        headers: Of each request; give tokens as a ``Secret``.
        paging: ``link``: ``next_field`` (or the ``Link`` header) holds the address of the next page. ``token``: it
            holds a text that goes into ``parameter``. ``page`` and ``offset``: ``parameter`` counts pages from 1, or
            rows from 0, until a page has fewer than ``page_rows`` rows.
        max_pages: More pages than this are an error, not a table that was cut.

    Raises:
        SourceUnavailable: no answer, or one that says to come back later (408, 425, 429, 5xx); retried.
        DataRejected: an answer is no JSON or has no rows where they should be, or pages never end.
        ConfigError: the address is none, or the server refuses it (other 4xx).
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"{url!r} is no address of http or https")
    found: list[Mapping[str, Any]] = []
    pages = _pages(url, headers, paging, next_field, parameter, page_rows, rows, timeout_s)
    for number, (place, page) in enumerate(pages):
        if number >= max_pages:
            raise DataRejected(f"{url} has more than {max_pages} pages; raise max_pages if that is right.", url=url)
        for position, row in enumerate(page):
            if not isinstance(row, Mapping):
                raise DataRejected(f"{place}: row {position} is a {type(row).__name__}, not an object.", row=position)
        found += page
    table = _table(found, columns, url)
    return cast_columns(table, types, url) if types else table


def _pages(
    url: str, headers: Mapping[str, str] | None, paging: Paging, next_field: str, parameter: str, page_rows: int,
    rows: str, timeout_s: float,
) -> Iterator[tuple[str, list[Any]]]:  # fmt: skip
    place: str | None = url if paging not in ("page", "offset") else _with(url, parameter, 1 if paging == "page" else 0)
    seen: set[str] = set()
    count = 0
    while place is not None:
        if place in seen:
            raise DataRejected(f"{place} names itself, or an earlier page, as the next one.", url=place)
        seen.add(place)
        answer, link = _answer(place, headers or {}, timeout_s)
        page = _rows_of(answer, rows, place)
        yield place, page
        count += len(page)
        if paging == "link":
            following = _at(answer, next_field) or link
            place = urljoin(place, str(following)) if following else None
        elif paging == "token":
            token = _at(answer, next_field)
            place = _with(url, parameter, token) if token not in (None, "") else None
        elif paging == "none" or len(page) < page_rows:
            place = None
        else:
            place = _with(url, parameter, len(seen) + 1 if paging == "page" else count)


def _answer(url: str, headers: Mapping[str, str], timeout_s: float) -> tuple[Any, str | None]:
    request = Request(url, headers={"Accept": "application/json", **headers})
    try:
        with urlopen(request, timeout=timeout_s) as response:
            body = response.read(_LARGEST_PAGE_BYTES + 1)
            link = _next_link(response.headers.get("Link", ""))
    except HTTPError as error:
        if error.code in _BUSY:
            _wait(error.headers.get("Retry-After", ""))
            raise SourceUnavailable(f"{url} answers {error.code} {error.reason}", url=url, status=error.code) from None
        raise ConfigError(f"{url} answers {error.code} {error.reason}; check the address and the headers") from None
    except (URLError, HTTPException, OSError) as error:
        raise SourceUnavailable(f"{url} cannot be read: {getattr(error, 'reason', error)}", url=url) from None
    if len(body) > _LARGEST_PAGE_BYTES:
        raise DataRejected(f"{url} answers with more than {_LARGEST_PAGE_BYTES} bytes; ask for smaller pages.", url=url)
    try:
        return json.loads(body), link
    except ValueError as error:
        raise DataRejected(f"{url} answers with what is no JSON: {error}; it begins {body[:60]!r}", url=url) from None


def _wait(retry_after: str) -> None:
    """Do as a server asks before the attempt ends, so that the next one comes when it said."""
    if retry_after.isdigit():
        time.sleep(min(float(retry_after), _LONGEST_WAIT_S))


def _rows_of(answer: Any, rows: str, place: str) -> list[Any]:
    found = _at(answer, rows) if rows else answer
    if not isinstance(found, list):
        where = f"under {rows!r}" if rows else "at the top"
        held = f"; it has {', '.join(map(str, answer))}" if isinstance(answer, Mapping) else ""
        raise DataRejected(f"{place}: there is no list {where} of the answer{held}.", url=place)
    return found


def _at(answer: Any, path: str) -> Any:
    for name in path.split("."):
        answer = answer.get(name) if isinstance(answer, Mapping) else None
    return answer


def _next_link(header: str) -> str | None:
    for part in header.split(","):
        address, *parameters = part.split(";")
        if any(parameter.strip() in ('rel="next"', "rel=next") for parameter in parameters):
            return address.strip().strip("<>")
    return None


def _with(url: str, parameter: str, value: object) -> str:
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != parameter]
    return urlunsplit(parts._replace(query=urlencode([*query, (parameter, str(value))])))


def _table(rows: list[Mapping[str, Any]], columns: Sequence[str] | None, url: str) -> pa.Table:
    if columns is None:
        names = list(dict.fromkeys(name for row in rows for name in row))
    else:
        names = list(columns)
        if rows:
            require_columns(list(dict.fromkeys(name for row in rows for name in row)), names, url)
    arrays = []
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            arrays.append(pa.array(values))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise DataRejected(f"{url}: column {name!r} mixes types: {error}", column=name) from None
    return pa.table(arrays, names)
