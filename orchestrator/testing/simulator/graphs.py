"""Graphs of simulated runs, drawn from a seed with the decorators that users write; and what their stages compute.

Values are integers and lists of them. ``draw`` is the one stage that comes out differently each time: the second
element of its output is new. ``send`` tells the outside world its input, which must be the same each time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

from orchestrator import Retry, approve, dynamic, each, pipeline, signal, stage, when
from orchestrator.graph.json import seal
from orchestrator.graph.node import Graph, Node
from orchestrator.graph.trace import call_node
from orchestrator.testing.simulator.values import encode

PATIENT = Retry(attempts=8, backoff="10ms..50ms")
"""More attempts than the weather makes fail."""


@stage(retries=PATIENT)
def numbers(n: int) -> list[int]:
    return list(range(n))


@stage(retries=PATIENT)
def double(x: int) -> int:
    return 2 * x


@stage(retries=PATIENT, timeout="5s")
def add(x: int, y: int) -> int:
    return x + y


@stage(retries=PATIENT)
def total(xs: list[int]) -> int:
    return sum(xs)


@stage(retries=PATIENT)
def big(x: int) -> bool:
    return x > 10


@stage(retries=PATIENT)
def draw(x: int) -> list[int]:
    return [x, 0]


@stage(retries=PATIENT)
def relay(pair: list[int]) -> list[int]:
    return pair


@stage(retries=PATIENT, effects=True)
def send(pair: list[int]) -> int:
    return pair[0]


@stage
def picky(x: int) -> int:
    if x % 5 == 3:
        raise ValueError(f"not {x}")
    return x


@stage(fallback=7)
def fragile(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


@stage(retries=PATIENT, streaming=True)
def stream(n: int) -> Iterator[int]:
    yield from range(n % 4 + 1)


@dynamic
def island(x: int) -> int:
    return x


@dynamic
def sender(x: int) -> int:
    return x


Calls = Generator[tuple[str, tuple[Any, ...], bool], Any, Any]


def _island(x: int) -> Calls:
    found = x
    for _ in range(x % 3 + 1):
        found = yield "double", (found,), False
        if found % 3 == 1:
            found += yield "total", ((yield "double", ([found, 1],), True),), False
    return found % 1000


def _sender(x: int) -> Calls:
    pair = yield "draw", (x,), False
    pair = yield "relay", (pair,), False
    return (yield "send", (pair,), False)


ISLANDS: Mapping[str, Callable[..., Calls]] = {"island": _island, "sender": _sender}
STAGES: Mapping[str, Any] = {
    s.name: s for s in (numbers, double, add, total, big, draw, relay, send, picky, fragile, stream)
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {name: s.__wrapped__ for name, s in STAGES.items()}


@cache
def call_template(name: str, mapped: bool) -> tuple[Node, str]:
    """Node of a call of a stage inside a ``@dynamic`` body, and the name of its argument."""
    example: Any = {"total": [1], "draw": 1, "double": 1, "relay": [1], "send": [1]}[name]
    node = call_node(STAGES[name], ([example] if mapped else example,), {}, mapped=mapped)
    return node, next(iter(node.args))


class _Drawing:
    """Draws calls one after the other; every value drawn so far may be an input of the next."""

    def __init__(self, chance: random.Random, steps: int) -> None:
        self._chance = chance
        self._steps = steps
        self._asked = 0
        self._single: list[Any] = [chance.randrange(12)]
        self._lists: list[Any] = [list(range(chance.randrange(5)))]
        self._maps: list[Any] = []
        self._used: list[Any] = []

    def draw(self) -> Any:
        """The pipeline's result; makes its nodes on the way."""
        ops = [self._plain, self._plain, self._wide, self._wide, self._chain, self._branch, self._effect, self._effects,
               self._approval, self._dynamic, self._streamed, self._careful, self._heavy]  # fmt: skip
        for _ in range(self._steps):
            self._chance.choice(ops)()
        return [*self._single[1:], *self._maps, *self._used]

    def _one(self) -> Any:
        return self._chance.choice(self._single[-3:])

    def _many(self) -> Any:
        return self._chance.choice((self._lists + self._maps)[-3:])

    def _plain(self) -> None:
        calls = (lambda: double(self._one()), lambda: add(self._one(), self._one()), lambda: total(self._many()))
        made: Callable[[], Any] = self._chance.choice(calls)
        self._single.append(made())

    def _chain(self) -> None:
        self._single.append(double(add(double(self._one()), 1)))

    def _wide(self) -> None:
        many = self._many()
        if self._chance.random() < 0.3:
            many = numbers(self._chance.randrange(5))
        doubled = double.map(many)
        self._maps.append(doubled if self._chance.random() < 0.6 else add.map(doubled, y=each(many)))

    def _branch(self) -> None:
        one, other = self._one(), self._one()
        self._single.append(when(big(one), then=lambda: double(other), otherwise=lambda: add(one, other)))

    def _approval(self) -> None:
        if self._asked < 2:
            self._asked += 1
            one = self._one()
            if self._chance.random() < 0.5:
                self._single.append(when(approve("go on?"), then=lambda: double(one), otherwise=lambda: add(one, 1)))
            else:
                self._single.append(add(one, signal(f"value{self._asked}")))

    def _effect(self) -> None:
        pair = draw(self._one())
        self._single.append(send(relay(pair) if self._chance.random() < 0.5 else pair))

    def _effects(self) -> None:
        self._maps.append(send.map(draw.map(self._many())))

    def _dynamic(self) -> None:
        body = self._chance.choice((island, sender))
        if self._chance.random() < 0.3:
            self._maps.append(body.map(self._many()))
        else:
            self._single.append(body(self._one()))

    def _streamed(self) -> None:
        batches = stream(self._one())
        self._maps.append(double.map(batches) if self._chance.random() < 0.6 else add.map(batches, y=1))

    def _careful(self) -> None:
        mode: Any = self._chance.choice(
            ("drop", "keep", "drop", "fail") if self._chance.random() < 0.3 else ("drop", "keep")
        )
        if self._chance.random() < 0.3:
            self._single.append(fragile(self._one()))
            return
        kept = picky.options(on_item_error=mode).map(self._many())
        if mode == "keep":
            self._used.append(kept)
        else:
            self._used.append(double.map(kept))

    def _heavy(self) -> None:
        self._single.append(double.options(num_cpus=2)(self._one()))


@lru_cache(maxsize=64)
def draw_graph(seed: int, steps: int = 0) -> Graph:
    """The sealed graph of a seed.

    Args:
        steps: How many calls to draw; by the seed when 0.
    """
    chance = random.Random(seed)
    count = chance.choice((2, 2, 3, 3, 4, 5))
    drawing = _Drawing(chance, steps or count)

    @pipeline
    def drawn() -> Any:
        return drawing.draw()

    return seal(drawn.graph(), encode)
