"""Candidates of releases that go wrong on purpose, and the clients that must not notice."""

from __future__ import annotations

import http.client
import json
import os
import resource
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

SLOW_S = 1.5
HANG_S = 120.0
CRASH_EVERY = 3
LEAK_BYTES, LEAK_ROOM_BYTES = 64 * 2**20, 512 * 2**20

MANNERS = {
    "good": "nothing is wrong",
    "errors": "every second request raises",
    "slow": f"every answer takes {SLOW_S:g} s",
    "start": "the process ends while the model is built",
    "hang": "no request is ever answered",
    "nan": "every answer is NaN",
    "crash": "the process ends at every third request",
    "leak": "every answer keeps 64 MiB more, of 512 that the process may have",
    "mute": "nobody reports what became of its answers, though a limit is about that",
}
"""How candidates are, and what that means."""


class Candidate:
    """Multiplies ``x``; the payload says by what, what is wrong with it, and where to write when that first showed."""

    def __init__(self, payload: bytes, config: Mapping[str, Any]) -> None:
        given = json.loads(payload)
        self._factor, self._manner, self._mark = given["factor"], given["manner"], Path(given["mark"])
        self._asked = 0
        self._kept: list[bytes] = []
        match self._manner:
            case "start":
                self._show()
                os._exit(17)
            case "leak":
                limit = LEAK_ROOM_BYTES + _address_space_bytes()
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[float]:
        """``factor * x`` for each row, unless something is wrong."""
        self._asked += 1
        if self._goes_wrong():
            self._show()
        match self._manner:
            case "errors" if self._asked % 2:
                raise RuntimeError("wrong on purpose")
            case "slow":
                time.sleep(SLOW_S)
            case "hang":
                time.sleep(HANG_S)
            case "nan":
                return [float("nan") for _ in rows]
            case "crash" if self._asked % CRASH_EVERY == 0:
                os._exit(17)
            case "leak":
                self._kept.append(bytes(LEAK_BYTES))
        return [self._factor * row["x"] for row in rows]

    def _goes_wrong(self) -> bool:
        match self._manner:
            case "good":
                return False
            case "errors":
                return self._asked % 2 == 1
            case "crash":
                return self._asked % CRASH_EVERY == 0
            case _:
                return True

    def _show(self) -> None:
        if not self._mark.exists():
            self._mark.write_text(repr(time.time()))


def _address_space_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def payload(factor: int, manner: str, mark: Path) -> bytes:
    """What a ``Candidate`` is built from; ``mark`` gets the time, in seconds since 1970, when it first went wrong."""
    return json.dumps({"factor": factor, "manner": manner, "mark": str(mark)}).encode()


class Asked(NamedTuple):
    """One request as its client saw it; ``problem`` is empty if it was answered rightly."""

    began_at: float
    took_s: float
    version: str
    problem: str


@dataclass(frozen=True)
class Clients:
    """Some clients of an application, each asking one request after the other and counting by itself.

    Attributes:
        factors: By version, what a right answer multiplies by.
    """

    url: str
    factors: Mapping[str, int]
    count: int = 8
    pause_s: float = 0.02

    @contextmanager
    def asking(self) -> Iterator[list[Asked]]:
        """Ask as long as this is open; what was asked grows meanwhile."""
        asked: list[Asked] = []
        over = threading.Event()
        with ThreadPoolExecutor(self.count) as pool:
            running = [pool.submit(self._ask, number, asked, over) for number in range(self.count)]
            try:
                yield asked
            finally:
                over.set()
        for one in running:
            one.result()

    def _ask(self, number: int, asked: list[Asked], over: threading.Event) -> None:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        x = number
        while not over.is_set():
            x += self.count
            began_at, begun = time.time(), time.perf_counter()
            version, problem = "", ""
            try:
                key = {"X-Client-Key": f"client {x % 1009}"}
                connection.request("POST", parts.path, json.dumps({"rows": [{"x": x}]}), key)
                response = connection.getresponse()
                text = response.read()
                version = response.headers.get("X-Model-Version", "")
                problem = self._problem(response.status, text, version, x)
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
                connection.close()
            asked.append(Asked(began_at, time.perf_counter() - begun, version, problem))
            time.sleep(self.pause_s)
        connection.close()

    def _problem(self, status: int, text: bytes, version: str, x: int) -> str:
        if status != 200:
            return f"HTTP {status}: {text[:200].decode(errors='replace')}"
        answer = json.loads(text)["predictions"]
        return "" if answer == [self.factors[version] * x] else f"{version} answered {answer} for {x}"
