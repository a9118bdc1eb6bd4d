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
        cell = self.__dict__.get("_saved")
        return None if cell is None else self._values.load(cell).value


def step_seed(run_seed: int, node: str, index: int) -> int:
    """Seed of a step: 63 bits."""
    return int(digest_bytes(f"{run_seed}\n{node}\n{index}".encode())[:16], 16) >> 1


class Contexts:
    """Makes the contexts of a bundle's steps; those of stages that use the same ports have most in common."""

    def __init__(
        self,
        run: str,
        bundle: str,
        epoch: int,
        seed: int,
        outbox: Outbox,
        watch: Watch,
        ports: Mapping[str, Any],
        values: Values,
        cursors: Mapping[str, str] | None = None,
    ) -> None:
        self.run = run
        self._ports = ports
        self._own = {
            "_outbox": outbox,
            "_watch": watch,
            "epoch": epoch,
            "_bundle": bundle,
            "_run_seed": seed,
            "_values": values,
            "_standing": cursors or {},
        }
        self._common: dict[tuple[tuple[str, ...], bool], Mapping[str, Any]] = {}

    def of(
        self,
        node: str,
        index: int,
        attempt: int,
        uses: tuple[str, ...],
        saved: Cell = None,
        caller: Caller | None = None,
        is_item: bool = False,
    ) -> BundleStep:
        """Context of one step; ``saved`` is what an earlier attempt kept."""
        common = self._common.get((uses, is_item))
        if common is None:
            shared = vars(StepContext(self.run, "", uses=uses, ports=self._ports, is_item=is_item))
            common = self._common[uses, is_item] = {**shared, **self._own}
        context = BundleStep.__new__(BundleStep)
        context._common = common
        context.node = node
        context.index = index
        context.attempt = attempt
        context.caller = caller
        if saved is not None:
            context._saved = saved
        return context
