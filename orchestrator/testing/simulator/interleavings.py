"""Every order in which two drivers may act on a run of three steps.

An order is a list of choices. Each is run from its start until it comes to a moment like one already seen (see
``likeness``) or to the run's end; every other choice at every new moment makes one order more, until none is left.

Where a driver has not begun yet, or was succeeded, only its own actions are tried, in all their orders: nothing that
others do changes what comes of them, nor the other way round, so orders that differ only in when it goes on come to the
same (docs/decisions/0028). This is checked, not believed: where one of these actions touches what is shared,
everybody else's are tried too, and so they are where they lead nowhere but round in circles.
"""

from __future__ import annotations

import gc
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator import pipeline
from orchestrator.graph.json import seal
from orchestrator.graph.node import Graph
from orchestrator.testing.simulator.clockwork import Entry, Stuck
from orchestrator.testing.simulator.graphs import draw, relay, send
from orchestrator.testing.simulator.race import Race, Stopped, driver_of
from orchestrator.testing.simulator.search import collecting_seldom, on_one_core
from orchestrator.testing.simulator.simulation import RUN, Broken
from orchestrator.testing.simulator.values import encode

_TELL_EVERY = 1000


@dataclass(slots=True)
class Moment:
    """A moment that was seen.

    Attributes:
        choices: How it was reached.
        left: Actions that were not tried there, because those of one driver are enough.
        led_to: Moments that came next.
    """

    choices: list[int]
    left: list[int]
    led_to: set[int] = field(default_factory=set)


@dataclass
class Visited:
    """What a search has seen.

    Attributes:
        orders: Orders that were run; ``ends`` of them came to the run's end, the others to a known moment.
        takeovers: Orders in which the second driver came to own the run; ``longest`` the most actions of one.
        outcomes: What runs came to at their end.
    """

    orders: int = 0
    ends: int = 0
    takeovers: int = 0
    longest: int = 0
    moments: dict[int, Moment] = field(default_factory=dict)
    outcomes: set[int] = field(default_factory=set)


class Search:
    """All orders of one graph.

    Args:
        stepwise: As for ``Race``.
        fully: Try everybody's actions everywhere, also those that come to the same.
    """

    def __init__(self, graph: Graph, stepwise: bool = True, fully: bool = False) -> None:
        self.visited = Visited()
        self._graph = graph
        self._stepwise = stepwise
        self._fully = fully
        self._next: deque[tuple[int, list[int]]] = deque([(_START, [])])

    def run(self, tell: Callable[[str], None]) -> Visited:
        """Until no order is left; raises as ``explore``."""
        visited = self.visited
        with collecting_seldom(), on_one_core(os.getpid()):
            while self._next:
                self._run_order(*self._next.popleft())
                if visited.orders % _TELL_EVERY == 0:
                    gc.collect()
                    tell(f"{visited.orders} orders, {len(visited.moments)} moments; {len(self._next)} orders next")
                if not self._next:
                    for number in self.without_a_way_to(n for n, moment in visited.moments.items() if not moment.left):
                        self._complete(number)
        for number in self.without_a_way_to(()):
            raise Stuck(f"from here no order comes to an end: replay({visited.moments[number].choices})")
        return visited

    def _run_order(self, last: int, given: list[int]) -> None:
        """The given choices, of which the last was made at a known moment, and then the first at each new moment."""
        taken: list[int] = []

        def choose(race: Race, offered: Sequence[Entry]) -> int | None:
            nonlocal last
            chosen: int | None
            if len(taken) < len(given):
                chosen = given[len(taken)]
            else:
                number, chosen = self._reached(race, taken, offered)
                self._leads(last, number, race.touched)
                last = number
            if chosen is not None:
                taken.append(chosen)
            return chosen

        visited, race = self.visited, Race(self._graph, choose, self._stepwise)
        visited.orders += 1
        try:
            race.race()
            visited.ends += 1
            visited.outcomes.add(hash(race.outcome()))
            self._leads(last, _END, race.touched)
        except Stopped:
            pass
        except (Broken, Stuck) as error:
            raise type(error)(f"{error}; shown by replay({taken})") from error
        except Exception as error:  # of the engine, which met something that it does not expect
            raise Broken(f"{type(error).__name__}: {error}; shown by replay({taken})") from error
        visited.takeovers += race.store.run(RUN).epoch > 1
        visited.longest = max(visited.longest, len(taken))

    def _reached(self, race: Race, taken: Sequence[int], offered: Sequence[Entry]) -> tuple[int, int | None]:
        """A moment by its number, and which action comes next there if it was not seen before."""
        number = hash(race.likeness())
        if number in self.visited.moments:
            return number, None
        every = range(len(offered))
        alone = [] if self._fully else [at for at in every if driver_of(offered[at]) == race.by_itself()]
        moment = Moment([*taken], [at for at in every if alone and at not in alone])
        self.visited.moments[number] = moment
        first, *others = alone or every
        self._next += ((number, [*taken, other]) for other in others)
        return number, first

    def _leads(self, number: int, to: int, touched: bool) -> None:
        """An action led from one moment to another; if it touched what is shared, all others are to be tried too."""
        if number != _START:
            self.visited.moments[number].led_to.add(to)
            if touched:
                self._complete(number)

    def _complete(self, number: int) -> None:
        moment = self.visited.moments[number]
        self._next += ((number, [*moment.choices, left]) for left in moment.left)
        moment.left = []

    def without_a_way_to(self, numbers: Iterable[int]) -> list[int]:
        """Moments from which nothing leads to one of these, nor to an end."""
        moments = self.visited.moments
        before: defaultdict[int, list[int]] = defaultdict(list)
        for number, moment in moments.items():
            for other in moment.led_to:
                before[other].append(number)
        known = {_END, *numbers}
        ahead = list(known)
        while ahead:
            for number in before[ahead.pop()]:
                if number not in known:
                    known.add(number)
                    ahead.append(number)
        return [number for number in moments if number not in known]


_START, _END = -1, -2


def three_steps() -> Graph:
    """The run that is searched: the second step hands on what the first has made up, and the third has effects."""

    @pipeline
    def relayed() -> Any:
        return send(relay(draw(1)))

    return seal(relayed.graph(), encode)


def explore(
    graph: Graph | None = None,
    tell: Callable[[str], None] = lambda line: None,
    stepwise: bool = True,
    fully: bool = False,
) -> Visited:
    """Visit every order of actions.

    Args:
        graph: Of the run; three steps, the last of which has effects, when None.
        tell: Gets a line now and then.
        stepwise: Others may come in at every call of a port, not only where a driver begins and where it waits.
        fully: Try everybody's actions everywhere, also those that come to the same.

    Raises:
        Broken: an order in which a promise does not hold; the message has its choices, for ``replay``.
        Stuck: an order that does not come to an end.
    """
    return Search(graph or three_steps(), stepwise, fully).run(tell)


def replay(
    choices: Sequence[int],
    graph: Graph | None = None,
    stepwise: bool = True,
    trace: Callable[[str], None] = print,
) -> None:
    """Run one order again, with its trace; arguments and errors as for ``explore``."""
    left = iter(choices)
    Race(graph or three_steps(), lambda race, offered: next(left, 0), stepwise, trace).race()
