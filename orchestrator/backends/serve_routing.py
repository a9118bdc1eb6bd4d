"""What a router does with a request, whoever carries it: choose, ask, fall back, mirror, count. Knows no Ray, no HTTP.

No request fails because of a version that is tried out: whatever it does, the stable version is asked in its place.
Only if that one also refuses a request (4xx) was it the client's fault. A version that has too much to do did nothing
wrong, so a request that it turned away is counted apart and is neither its error nor a sample of it.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

from orchestrator.backends.serve_answer import Answer
from orchestrator.backends.serve_choice import OUTCOMES, SEPARATOR, Choice, traffic_document
from orchestrator.backends.serve_counts import Counts, Verdict, add_all
from orchestrator.backends.serve_models import ONLY, model_in
from orchestrator.backends.serve_slices import request_id, slices_in, slices_of
from orchestrator.ports.traffic import Traffic

CLIENT_HEADER = "X-Client-Key"
VERSION_HEADER = "X-Model-Version"
ANSWER_HEADER = "X-Answer-Id"

_LARGEST = 1e150
"""Its square is still a number."""

_LATER = {"Retry-After": "1"}
_MAX_OUTCOMES = 10_000
_MAX_CLIENT_CHARS = 200


class Reply(NamedTuple):
    """What the client gets."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient and how busy each replica of a router is.

    Attributes:
        timeout_s: Longest time for an answer of the stable version.
        trial_timeout_s: The same for any other version, before the stable one is asked.
        in_flight: Most requests at a time; more are answered 503 with ``Retry-After``.
        tolerance: Relative and absolute difference at which numbers of two answers are still the same.
    """

    timeout_s: float = 30.0
    trial_timeout_s: float = 5.0
    in_flight: int = 200
    tolerance: float = 1e-6


class _Tried(NamedTuple):
    """One attempt to have a version answer."""

    verdict: Verdict
    took_ms: float
    answer: Answer | None
    reason: str = ""


class Asked(NamedTuple):
    """One request: its body, its id, and which of a version's models it is for."""

    body: bytes
    id: str
    model: str = ONLY


Ask = Callable[[str, Asked], Awaitable[Answer]]
"""Hands a request to a version; raises if it cannot be asked or dies of it."""

BUSY = 503
"""Status of an answer that says that a version has too much to do; predictors never give it."""


@dataclass(slots=True)
class Routing:
    """One replica of a router. Everything happens on one event loop."""

    app: str
    ask: Ask
    traffic: Traffic | None = None
    limits: Limits = field(default_factory=Limits)
    _choice: Choice = field(default_factory=lambda: Choice({}))
    _counts: dict[str, Counts] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _in_flight: int = 0
    _mirrors: set[asyncio.Task[None]] = field(default_factory=set)

    def follow(self, traffic: Traffic, limits: Limits) -> bool:
        """Do this from now on; an older generation changes nothing, and gives False."""
        if self.traffic is not None and traffic.generation < self.traffic.generation:
            return False
        self._choice = Choice(traffic.weights)
        self._known |= {traffic.stable, *traffic.weights, *traffic.mirrored}
        self.traffic, self.limits = traffic, limits
        return True

    def take(self) -> dict[str, Counts]:
        """What was counted since the last time."""
        taken, self._counts = self._counts, {}
        return taken

    def put_back(self, counts: dict[str, Counts]) -> None:
        """What was taken could not be reported."""
        add_all(self._counts, counts)

    async def handle(self, method: str, path: str, body: bytes, client: str | None, model: str = ONLY) -> Reply:
        """Answer an HTTP request; ``path`` is what comes after the application's own, without slashes around it."""
        if method == "GET" and not path:
            return self.describe()
        named = model_in(path)
        if method == "POST" and (not path or named is not None):
            return await self.answer(body, client, model if named is None else named)
        if method == "POST" and path == OUTCOMES:
            return self.outcomes(body)
        return _refused(404, f"nothing of {self.app} answers {method} here: no such version is served")

    def describe(self) -> Reply:
        """What this router does, for whoever asks with GET."""
        if self.traffic is None:
            return _refused(503, f"the router of {self.app} has no traffic yet; try again", retry=True)
        return Reply(200, json.dumps({"app": self.app, **traffic_document(self.traffic)}).encode(), {})

    async def answer(self, body: bytes, client: str | None, model: str = ONLY) -> Reply:
        """Answer one request; never raises but when it is cancelled."""
        traffic = self.traffic
        if traffic is None:
            return _refused(503, f"the router of {self.app} has no traffic yet; try again", retry=True)
        if self._in_flight >= self.limits.in_flight:
            self._count(traffic.stable).turned_away += 1
            return _refused(BUSY, f"{self.app} has {self._in_flight} requests in flight; try again later", retry=True)
        self._in_flight += 1
        try:
            asked = Asked(body, request_id(slices_of(body, traffic.slices)), model)
            return await self._answer(traffic, asked, client[:_MAX_CLIENT_CHARS] if client else None)
        finally:
            self._in_flight -= 1

    async def _answer(self, traffic: Traffic, asked: Asked, client: str | None) -> Reply:
        version = self._choice.of(client if traffic.sticky else None)
        if version == traffic.stable:
            tried, given = await self._stable(version, asked)
        else:
            tried, given = await self._trial(version, traffic.stable, asked)
        self._count(version).request(tried.verdict, tried.took_ms, traffic.slow_ms, client)
        by = version if given is tried else traffic.stable
        reply = _reply(self.app, by, given, asked.id)
        if given.verdict == "answered":
            self._mirror(traffic, {version, by}, asked, reply.body, client)
        return reply

    async def _stable(self, version: str, asked: Asked) -> tuple[_Tried, _Tried]:
        """What counts, and what the client gets: a replica that died is asked for in vain only once."""
        tried = await self._try(version, asked, self.limits.timeout_s)
        left_s = self.limits.timeout_s - tried.took_ms / 1000
        if tried.verdict != "failed" or tried.answer is not None or left_s <= 0:
            return tried, tried
        again = await self._try(version, asked, left_s)
        return tried._replace(took_ms=tried.took_ms + again.took_ms), again

    async def _trial(self, version: str, stable: str, asked: Asked) -> tuple[_Tried, _Tried]:
        tried = await self._try(version, asked, self.limits.trial_timeout_s)
        if tried.verdict == "answered":
            return tried, tried
        _, instead = await self._stable(stable, asked)
        if tried.verdict == "turned away":
            return tried, instead
        if tried.verdict == "rejected" and instead.verdict != "answered":
            return tried, tried
        verdict: Verdict = "broken" if tried.verdict == "broken" else "failed"
        return tried._replace(verdict=verdict), instead

    async def _try(self, version: str, asked: Asked, timeout_s: float) -> _Tried:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self.ask(version, asked)
        except TimeoutError:
            return _Tried("failed", _since(began), None, f"did not answer within {timeout_s:g} s")
        except Exception as error:  # whatever ends a version must not end the request
            return _Tried("failed", _since(began), None, f"{type(error).__name__}: {error}"[:500])
        return _Tried(_verdict(answer), _since(began), answer)

    def _mirror(self, traffic: Traffic, by: set[str], asked: Asked, given: bytes, client: str | None) -> None:
        for version, percent in traffic.mirrored.items():
            if version in by or len(self._mirrors) >= traffic.mirror_limit or random.random() * 100 >= percent:
                continue
            task = asyncio.create_task(self._compare(version, asked, given, traffic, client))
            self._mirrors.add(task)
            task.add_done_callback(self._mirrors.discard)

    async def _compare(self, version: str, asked: Asked, given: bytes, traffic: Traffic, client: str | None) -> None:
        tried = await self._try(version, asked, traffic.mirror_timeout_s)
        verdict: Verdict = "failed" if tried.verdict == "rejected" else tried.verdict  # another version took it
        counts = self._count(version)
        counts.request(verdict, tried.took_ms, traffic.slow_ms, client)
        if tried.verdict == "answered" and tried.answer is not None:
            same = await asyncio.to_thread(same_answer, given, tried.answer.body, self.limits.tolerance)
            self._count(version).comparison(different=not same)

    def outcomes(self, body: bytes) -> Reply:
        """Count what became of earlier answers: all that are reported, or none if one is malformed."""
        try:
            entries = json.loads(body)["outcomes"]
            if not isinstance(entries, list) or len(entries) > _MAX_OUTCOMES:
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            return _refused(
                400, f'the body must be {{"outcomes": [{{"id", "metric", "value"}}]}}, {_MAX_OUTCOMES} at most'
            )
        found = []
        for index, entry in enumerate(entries):
            version, problem = _outcome(entry)
            if problem:
                return _refused(422, f"outcome {index}: {problem}")
            found.append((version, entry["metric"], float(entry["value"]), slices_in(entry["id"], self._slices)))
        counted = 0
        for version, metric, value, slices in found:
            counted += version in self._known and self._count(version).outcome(metric, value, slices)
        return Reply(200, json.dumps({"counted": counted, "unknown": len(found) - counted}).encode(), {})

    @property
    def _slices(self) -> tuple[str, ...]:
        return () if self.traffic is None else self.traffic.slices

    def _count(self, version: str) -> Counts:
        return self._counts.setdefault(version, Counts())


def same_answer(one: bytes, other: bytes, tolerance: float) -> bool:
    """True if two answers say the same, numbers within the tolerance."""
    try:
        return _same(json.loads(one), json.loads(other), tolerance)
    except (ValueError, RecursionError):
        return False


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if _is_number(one) and _is_number(other):
        return one == other or math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _outcome(entry: Any) -> tuple[str, str]:
    """The version that an outcome is about, and what is wrong with it."""
    if not isinstance(entry, dict):
        return "", "must be an object with id, metric and value"
    version, separator, _ = str(entry.get("id")).partition(SEPARATOR)
    if not isinstance(entry.get("id"), str) or not separator:
        return "", f"id must be the {ANSWER_HEADER} of an answer"
    metric, value = entry.get("metric"), entry.get("value")
    if not isinstance(metric, str) or not 0 < len(metric) <= 100:
        return "", "metric must be a name of up to 100 characters"
    if not _is_number(value) or not -_LARGEST <= value <= _LARGEST:
        return "", "value must be a finite number"
    return version, ""


def _verdict(answer: Answer) -> Verdict:
    if answer.broken:
        return "broken"
    if answer.status == BUSY:
        return "turned away"
    if 400 <= answer.status < 500:
        return "rejected"
    return "answered" if answer.status < 400 else "failed"


def _reply(app: str, version: str, tried: _Tried, request: str) -> Reply:
    headers = {VERSION_HEADER: version, ANSWER_HEADER: f"{version}{SEPARATOR}{request}"}
    if tried.answer is not None:
        headers |= _LATER if tried.verdict == "turned away" else {}
        return Reply(tried.answer.status, tried.answer.body, headers)
    refused = _refused(503, f"{app} {version} could not answer: {tried.reason}", retry=True)
    return refused._replace(headers={**refused.headers, **headers})


def _refused(status: int, message: str, retry: bool = False) -> Reply:
    return Reply(status, json.dumps({"error": message}).encode(), _LATER if retry else {})


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
