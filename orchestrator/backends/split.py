"""Two executors as one: light steps and islands on the first, heavy steps on a second that starts when one comes."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.ports.executor import Bundle, Executor, ExecutorEvent, FromBundle, Lost, Refused, RunCode
from orchestrator.ports.frames import Outcomes, Returned


class SplitExecutor:
    """Sends each bundle where it belongs; see ``ports.executor.Executor``.

    Args:
        light: Takes everything but heavy steps.
        open_heavy: Starts the executor for heavy steps, when the first one comes (that may take seconds).
    """

    def __init__(self, light: Executor, open_heavy: Callable[[], Executor]) -> None:
        self.name = light.name
        self._light = light
        self._open_heavy = open_heavy
        self._heavy: Executor | None = None
        self._codes: list[RunCode] = []
        self._heavy_bundles: set[str] = set()

    @property
    def slots(self) -> int:
        """Slots for light steps."""
        return self._light.slots

    def open(self, code: RunCode) -> None:
        """Make a run known to both."""
        self._codes.append(code)
        for executor in self._executors():
            executor.open(code)

    def room(self) -> int:
        """Room for light bundles."""
        return self._light.room()

    def idle(self) -> int:
        """Idle slots for light steps."""
        return self._light.idle()

    def submit(self, bundle: Bundle) -> None:
        """Heavy bundles to the one, all others to the other."""
        if bundle.heavy is None or (bundle.heavy.light and not bundle.uses):
            self._light.submit(bundle)
            return
        if self._heavy is None:
            self._heavy = self._open_heavy()
            for code in self._codes:
                self._heavy.open(code)
        self._heavy_bundles.add(bundle.id)
        self._heavy.submit(bundle)

    def release(self, bundle: str, count: int) -> None:
        """Ask for unstarted steps back."""
        self._of(bundle).release(bundle, count)

    def cancel(self, bundle: str) -> None:
        """End a bundle."""
        self._of(bundle).cancel(bundle)

    def answer(self, bundle: str, returned: Returned) -> None:
        """Answer a ``@dynamic`` body."""
        self._of(bundle).answer(bundle, returned)

    def poll(self, timeout_s: float) -> list[ExecutorEvent]:
        """Events of both; while heavy steps run, both are asked in short turns."""
        if self._heavy is None or not self._heavy_bundles:
            return self._light.poll(timeout_s)
        events = self._heavy.poll(0.0)
        self._forget_ended(events)
        return events + self._light.poll(0.0 if events else min(timeout_s, 0.02))

    def wake(self) -> None:
        """Wake the one that waits."""
        self._light.wake()

    def close(self) -> None:
        """Close both."""
        for executor in self._executors():
            executor.close()
        self._codes.clear()

    def _executors(self) -> list[Executor]:
        return [self._light] if self._heavy is None else [self._light, self._heavy]

    def _of(self, bundle: str) -> Executor:
        if self._heavy is not None and bundle in self._heavy_bundles:
            return self._heavy
        return self._light

    def _forget_ended(self, events: list[ExecutorEvent]) -> None:
        for event in events:
            if isinstance(event, FromBundle) and isinstance(event.frame, Outcomes) and event.frame.finished:
                self._heavy_bundles.discard(event.frame.bundle)
            elif isinstance(event, Lost):
                self._heavy_bundles.difference_update(event.bundles)
            elif isinstance(event, Refused):
                self._heavy_bundles.discard(event.bundle)
