"""The context of a step in a worker, cheap enough to be made for every step of a bundle."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.graph.context import Caller, StepContext
from orchestrator.ports.values import Cell, Values, decode_cell, digest_bytes

if TYPE_CHECKING:
    from orchestrator.backends.bundles.outbox import Outbox
    from orchestrator.backends.bundles.watchdog import Watch


class BundleStep(StepContext):
    """``step()`` in a bundle. What all steps of a node have in common is looked up, not made again for each."""

    _common: Mapping[str, Any]
    _outbox: Outbox
    _watch: Watch
    _bundle: str
    _run_seed: int
    _values: Values
    _checkpoints: Mapping[int, Cell]
    _saved: Cell

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_common"][name]
        except KeyError:
            raise AttributeError(f"a step has no attribute {name!r}") from None

    @functools.cached_property
    def seed(self) -> int:  # type: ignore[override]
        """Follows from the run's seed and the step's address, so it is the same for every attempt."""
        return step_seed(self._run_seed, self.node, self.index)

    def _on_report(self, metrics: Mapping[str, float]) -> None:
        with self._watch.shield():
            self._outbox.report(self._bundle, self.node, self.index, metrics)

    def _save(self, obj: Any) -> None:
        cell = self._values.encode(obj)
        with self._watch.shield():
            self._outbox.checkpoint(self._bundle, self.node, self.index, cell)
        self._saved = decode_cell(cell)

    def _restore(self) -> Any:
        cell = self.__dict__.get("_saved", self._checkpoints.get(self.index))
        return None if cell is None else self._values.load(cell).value


def step_seed(run_seed: int, node: str, index: int) -> int:
    """Seed of a step: 63 bits."""
    return int(digest_bytes(f"{run_seed}\n{node}\n{index}".encode())[:16], 16) >> 1


class Contexts:
    """Makes the contexts of a node's steps in a bundle."""

    def __init__(
        self,
        run: str,
        bundle: str,
        node: str,
        seed: int,
        outbox: Outbox,
        watch: Watch,
        uses: tuple[str, ...],
        ports: Mapping[str, Any],
        values: Values,
        checkpoints: Mapping[int, Cell],
    ) -> None:
        self._common = {
            **vars(StepContext(run, node, uses=uses, ports=ports)),
            "_outbox": outbox,
            "_watch": watch,
            "_bundle": bundle,
            "_run_seed": seed,
            "_values": values,
            "_checkpoints": checkpoints,
        }
        self._node = node

    def of(self, index: int, attempt: int, caller: Caller | None = None) -> BundleStep:
        """Context of one step."""
        context = BundleStep.__new__(BundleStep)
        context._common = self._common
        context.node = self._node
        context.index = index
        context.attempt = attempt
        context.caller = caller
        return context
