"""Virtual time, and processes that take turns: everything of a simulation happens in one order that the seed decides.

A process is a thread, but only the one that holds the baton runs; the baton changes hands only where a process calls
``wait`` or ``pause``. Events and wake-ups lie in one queue. ``pick`` decides which comes next: the earliest, unless a
search over all orders puts its own choice there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from heapq import heappop, heappush

BEGIN_S = 1000.0
"""When virtual time begins; no duration is as long."""

LIMIT = 60_000
"""Most events of one simulation; more means that it goes round in circles."""


class Killed(BaseException):
    """The process was killed: no code of it may go on but what unwinds."""


class Stuck(AssertionError):
    """A simulation does not come to its end."""


class Process:
    """One simulated process; also the clock that it sees (``ports.clock.Clock``).

    Attributes:
        doomed: It was killed, and only unwinds.
    """

    __slots__ = (
        "_clockwork", "baton", "doomed", "ended", "failure", "frozen_until", "name", "thread", "ticket", "waiting",
    )  # fmt: skip

    def __init__(self, clockwork: Clockwork, name: str) -> None:
        self.name = name
        self.baton = threading.Lock()
        self.baton.acquire()
        self.doomed = False
        self.ended = False
        self.failure: BaseException | None = None
        self.frozen_until = 0.0
        self.ticket = 0
        self.waiting = False
        self.thread = threading.current_thread()
        self._clockwork = clockwork

    def now(self) -> float:
        """Wall-clock seconds."""
        return self._clockwork.now_s

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._clockwork.now_s

    def sleep(self, duration_s: float) -> None:
        """Let others run meanwhile."""
        self._clockwork.wait(self, duration_s)

    @property
    def frozen(self) -> bool:
        """True while nothing of the process runs."""
        return self.frozen_until > self._clockwork.now_s


class Clockwork:
    """Time, the queue of what is to come, and whoever runs now.

    Attributes:
        trace: Told of what happens, when somebody wants to read it.
        pick: Takes the next entry out of the queue; the earliest by default.
        problem: What the main process raises when its turn comes.
    """

    def __init__(self, now_s: float = BEGIN_S, trace: Callable[[str], None] | None = None) -> None:
        self.now_s = now_s
        self.trace = trace
        self.main = Process(self, "main")
        self.processes: list[Process] = []
        self.queue: list[Entry] = []
        self.pick: Callable[[list[Entry]], Entry] = heappop
        self._count = 0
        self.problem: BaseException | None = None

    # ---- what is to come

    def after(self, delay_s: float, label: str, action: Callable[[], None]) -> None:
        """Let an event happen; it may wake and start processes, but not wait."""
        self._count += 1
        heappush(self.queue, (self.now_s + delay_s, self._count, label, action, 0))

    def spawn(self, name: str, body: Callable[[Process], None]) -> Process:
        """Start a process; it runs when its turn comes."""
        process = Process(self, name)
        self.processes.append(process)
        process.thread = threading.Thread(target=self._main, args=(process, body), name=name, daemon=True)
        process.thread.start()
        self._schedule(process, 0.0)
        return process

    def wait(self, me: Process, duration_s: float) -> None:
        """Let others run until the time is over, or somebody wakes this process."""
        me.waiting = True
        self._schedule(me, duration_s)
        self._hand_on(me)
        me.waiting = False
        self.check(me)

    def pause(self, me: Process, duration_s: float) -> None:
        """Let others run for a while that nobody can cut short."""
        self._schedule(me, duration_s)
        self._hand_on(me)
        self.check(me)

    def wake(self, process: Process) -> None:
        """End the waiting of a process, if it waits."""
        if process.waiting:
            process.waiting = False
            self._schedule(process, 0.0)

    def freeze(self, process: Process, duration_s: float) -> None:
        """Stop a process where it is; it feels nothing of the time that passes."""
        process.frozen_until = self.now_s + duration_s

    def kill(self, process: Process) -> None:
        """End a process at once; it does not run its own code any more."""
        if not process.ended and not process.doomed:
            process.doomed = True
            process.frozen_until = 0.0
            self._schedule(process, 0.0)

    def check(self, process: Process) -> None:
        """Raise Killed in a process that was killed."""
        if process.doomed:
            raise Killed
        if process is self.main and self.problem is not None:
            raise self.problem

    def end(self) -> None:
        """Kill what is left and wait for it to unwind."""
        self.pick = heappop
        self.problem = None
        for process in self.processes:
            self.kill(process)
        while not all(process.ended for process in self.processes):
            self._schedule(self.main, 1.0)
            self._hand_on(self.main)

    # ---- taking turns

    def _schedule(self, process: Process, delay_s: float) -> None:
        self._count += 1
        process.ticket = self._count
        heappush(self.queue, (self.now_s + delay_s, self._count, process.name, None, self._owner(process)))

    def _owner(self, process: Process) -> int:
        return 0 if process is self.main else self.processes.index(process) + 1

    def _hand_on(self, me: Process | None) -> None:
        """Let things happen until it is this process's turn."""
        queue = self.queue
        while True:
            due_s, count, _, action, owner = entry = self.pick(queue)
            if action is not None:
                self.now_s = max(self.now_s, due_s)
                try:
                    self._guard(count)
                    action()
                except BaseException as error:  # a broken promise, found in whoever's turn it was
                    self.report(error)
                continue
            process = self.processes[owner - 1] if owner else self.main
            if process.ticket != count or process.ended:
                continue  # it was woken before, or has ended
            if process.frozen_until > due_s:
                self._postpone(entry, process)
                continue
            self.now_s = max(self.now_s, due_s)
            if process is me:
                return
            process.baton.release()
            if me is not None:
                me.baton.acquire()
            return

    def _postpone(self, entry: Entry, process: Process) -> None:
        self._count += 1
        process.ticket = self._count
        heappush(self.queue, (process.frozen_until, self._count, entry[2], None, entry[4]))

    def _guard(self, count: int) -> None:
        if count > LIMIT and self.problem is None:
            raise Stuck(f"more than {LIMIT} events, and no end")

    def report(self, error: BaseException) -> None:
        """Let the main process raise this; the first counts."""
        if self.problem is None:
            self.problem = error
            self._schedule(self.main, 0.0)

    def _main(self, process: Process, body: Callable[[Process], None]) -> None:
        process.baton.acquire()
        try:
            self.check(process)
            body(process)
        except Killed:
            pass
        except BaseException as error:  # judged by whoever started it
            process.failure = error
            self.report(error)
        process.ended = True
        self._hand_on(None)


Entry = tuple[float, int, str, Callable[[], None] | None, int]
"""Due (seconds), number, label, what happens; or, without that, whose turn it is (0: the main process)."""
