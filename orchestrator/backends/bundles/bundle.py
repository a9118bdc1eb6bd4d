"""A bundle inside a worker: what has been started, what can still be given back."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from orchestrator.backends.bundles.outputs import Made
from orchestrator.ports.frames import Run, Segment
from orchestrator.types import Digest

Range = tuple[str, int, int]
Scalar = bool | int | float | str | None


class Part:
    """One segment: steps before ``next`` have been started."""

    __slots__ = ("next", "segment", "stop")

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.next = segment.start
        self.stop = segment.stop


class RunningBundle:
    """Steps are taken from the front by the executing thread and given back from the tail by any other.

    Args:
        inline: The chunks that came with the bundle or were sent before.

    Attributes:
        made: Outputs of its steps that later ones need (``wanted``).
        scalars: Whole outputs of single steps that are plain scalars, as far as they have been looked at here.
    """

    def __init__(self, run: Run, inline: Mapping[Digest, bytes]) -> None:
        self.id = run.bundle
        self.run = run.run
        self.epoch = run.epoch
        self.seed = run.seed
        self.cursors = run.cursors
        self.inline = inline
        self.parts = [Part(segment) for segment in run.segments]
        self.made: Made = {}
        self.scalars: dict[str, Scalar] = {}
        self.wanted = {
            source.node
            for segment in run.segments
            for source in segment.inputs
            for span in source.spans
            if not span.chunk
        }
        self._lock = threading.Lock()

    def take(self, part: Part) -> int | None:
        """Start the next step of a part; None if there is none left."""
        with self._lock:
            index = part.next
            if index >= part.stop:
                return None
            part.next = index + 1
            return index

    def release(self, count: int) -> list[Range]:
        """Give back up to ``count`` steps that were not started, from the tail."""
        given: list[Range] = []
        with self._lock:
            for part in reversed(self.parts):
                some = min(count, part.stop - part.next)
                if some > 0:
                    part.stop -= some
                    count -= some
                    given.append((part.segment.node, part.stop, part.stop + some))
        return given

    def drop(self) -> list[Range]:
        """Give back everything that was not started."""
        return self.release(sum(part.segment.stop - part.segment.start for part in self.parts))

    def drop_part(self, part: Part) -> list[Range]:
        """Give back what is left of one part."""
        with self._lock:
            start, part.next = part.next, part.stop
        return [(part.segment.node, start, part.stop)] if start < part.stop else []
