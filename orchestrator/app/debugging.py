"""One step of a recorded run in this process, on its real inputs: to see it fail again, in a debugger if wanted.

Nothing is written to the journal or to the artifact store. In the body of a ``@dynamic`` step, calls that the run has
outcomes of are answered with these; others run here as well.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.engine.inputs import inputs
from orchestrator.errors import ConfigError, NotFound, ReplayMismatch
from orchestrator.graph.context import StepContext, active
from orchestrator.graph.json import nodes_to_bytes
from orchestrator.graph.local import LocalCaller
from orchestrator.graph.node import Ref
from orchestrator.ports.values import decode_cell, digest_bytes, digest_of
from orchestrator.types import Digest

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.artifacts.values import StoredValues
    from orchestrator.backends.bundles.arguments import Arguments
    from orchestrator.backends.bundles.definitions import Code, Definition
    from orchestrator.engine.state import NodeState, RunFold
    from orchestrator.graph.node import Node
    from orchestrator.graph.stage import Stage


class Outcome(NamedTuple):
    """How the body ended: its value, or the error with the traceback from the body on.

    Attributes:
        same: Whether the value is the one on record; None if there is none to compare with.
        metrics: What it reported, in order.
    """

    value: Any
    error: BaseException | None
    traceback: TracebackType | None
    elapsed_s: float
    same: bool | None
    metrics: list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class DebugStep:
    """A step ready to be run.

    Attributes:
        root: Where the code of the run was unpacked; empty for the code as it is now.
    """

    address: str
    state: NodeState
    index: int
    root: str
    _here: Installation
    _fold: RunFold
    _definition: Definition
    _arguments: Arguments
    _effects: bool

    def run(self) -> Outcome:
        """Run the body in this thread."""
        args, kwargs = self._arguments.of(self.index)
        from orchestrator.backends.bundles.surroundings import BorrowedSurroundings

        function, context = self._definition.code.function, self._context()
        surroundings = BorrowedSurroundings()
        surroundings.prepare(context)
        context.reports = []
        value: Any = None
        error: BaseException | None = None
        began = time.perf_counter()
        try:
            with active(context):
                value = function(*args, **kwargs)
                if self.state.node.policy.streaming:
                    value = list(value)
        except BaseException as raised:
            error = raised
        finally:
            surroundings.restore()
        elapsed_s = time.perf_counter() - began
        traceback = None if error is None or error.__traceback__ is None else error.__traceback__.tb_next
        return Outcome(value, error, traceback, elapsed_s, self._is_same(value, error), context.reports)

    def _context(self) -> StepContext:
        node, fold, created = self.state.node, self._fold, self._fold.created
        assert created is not None
        caller = None
        if node.kind == "dynamic":
            caller = _RecordedCaller(self._here, fold, node.id, self.index, self._effects)
        kept = self.state.checkpoints.get(self.index)
        saved = None if kept is None else self._here.cells(fold.run).at(kept)
        return StepContext(
            fold.run, node.id, self.index, attempt=self.state.attempt(self.index),
            seed=_seed(created.seed, node.id, self.index), caller=caller, is_item=node.is_map,
            restore=None if kept is None else lambda: self._here.values.load(saved).value,
            standing={name: one.value for name, one in created.cursors.items()},
        )  # fmt: skip

    def _is_same(self, value: Any, error: BaseException | None) -> bool | None:
        span = None if error is not None or self.state.node.policy.streaming else self.state.outputs.find(self.index)
        if span is None or self.index in self.state.degraded:
            return None
        made = decode_cell(_unstored(self._here).encode(value))
        return digest_of(made) == digest_of(self._here.cells(self._fold.run).at(span))


def debug_step(
    here: Installation, run: str, node: str, index: int | None, effects: bool = False, now: bool = False
) -> DebugStep:
    """A step with its real inputs and the code on record; of a map the first item that failed, if none is named.

    Args:
        effects: Also if it acts on the outside world, under the idempotency key that it has in the run.
        now: With the code as it is now, found from the working directory.

    Raises:
        NotFound: something that it needs has no output, or is gone.
        ConfigError: it has no body that could run here; says why.
    """
    fold = here.fold(run)
    state = fold.nodes[node]
    place = _item(state, index)
    address = f"{node}[{place}]" if state.node.is_map else node
    _refuse(state.node, address, effects)
    code = _code(here, fold, now)
    definition = _definition(here, fold, state.node, code)
    return DebugStep(
        address, state, place, code.root, here, fold, definition, _arguments(here, fold, definition, place), effects
    )


def _item(state: NodeState, index: int | None) -> int:
    if index is not None or not state.node.is_map:
        return index or 0
    failed = sorted(item for item in state.failures if state.outputs.find(item) is None or item in state.degraded)
    if failed or state.failures:
        return failed[0] if failed else min(state.failures)
    raise ConfigError(f"{state.node.id} is a map of which no item failed; name one, such as {state.node.id}[0]")


def _refuse(node: Node, address: str, effects: bool) -> None:
    if node.stage is None:
        raise ConfigError(f"{address} is {_AN.get(node.kind, node.kind)}, not a step with a body that could be run")
    if node.policy.uses:
        raise ConfigError(
            f"{address} drives {', '.join(node.policy.uses)}, which is not there without workers; run it again as part "
            f"of a fork: orc fork RUN --from '{address}'"
        )
    if (node.policy.effects or node.policy.reads_key) and not effects:
        raise ConfigError(
            f"{address} has effects and would act on the outside world, under the key that it has in the run; "
            "if that is right, add --effects"
        )


_AN = {"approval": "an approval", "signal": "a signal", "branch": "a branch", "choice": "a choice", "pack": "wiring"}


def _code(here: Installation, fold: RunFold, now: bool) -> Code:
    from orchestrator.backends import capsule
    from orchestrator.backends.inline import LiveCode

    assert fold.created is not None
    return LiveCode({}) if now else capsule.load(fold.created.capsule, here.artifacts, here.settings.capsules_dir)


def _definition(here: Installation, fold: RunFold, node: Node, code: Code) -> Definition:
    from orchestrator.backends.bundles.definitions import Definitions

    known = Definitions(lambda _: code, here.artifacts.get)
    known.learn(fold.run, "", nodes_to_bytes([node]))
    try:
        return known.of(fold.run, node.id)
    except (ImportError, AttributeError) as error:
        assert node.stage is not None
        raise NotFound(f"the code of {node.id}, {node.stage.ref}, cannot be imported here: {error}") from error


def _arguments(here: Installation, fold: RunFold, definition: Definition, index: int) -> Arguments:
    from orchestrator.backends.bundles.arguments import Reader, compile_arguments
    from orchestrator.backends.bundles.outputs import Outputs
    from orchestrator.graph.secret import resolve_reference
    from orchestrator.ports.values import decode_manifest

    cells, values, node = here.cells(fold.run), here.values, definition.node
    needed = inputs(fold, node, index, index + 1, {})
    followed = {expr.node for name in node.mapped if isinstance(expr := node.args[name], Ref) and not expr.path}
    for source in needed:
        state = fold.nodes[source.node]
        is_there = bool(source.spans) if source.node in followed or not state.many else state.has_output
        if not is_there:
            raise NotFound(f"run {fold.run}: {node.id} needs {source.node}, which has no output, or not all of it")
    outputs = {source.node: Outputs(source, cells.chunk, {}) for source in needed}

    def children(entry: Any) -> Any:
        return decode_manifest(entry.data if entry.data is not None else here.artifacts.get(entry.digest)).cells

    def whole(cell: Any) -> Any:
        return values.load(cell).value

    reader = Reader(values, outputs, children, whole, resolve_reference, (index, index + 1))
    return compile_arguments(node, definition.signature, reader)


class _RecordedCaller:
    """Answers the calls of a ``@dynamic`` body from the record as far as that goes, and runs the others."""

    def __init__(self, here: Installation, fold: RunFold, node: str, index: int, effects: bool) -> None:
        self._here = here
        self._fold = fold
        self._recorded = [child for child, _ in fold.calls.get((node, index), ())]
        self._effects = effects
        self._next = 0
        self._local = LocalCaller(node)

    def call(self, stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: bool) -> Any:
        """See ``context.Caller``."""
        state = self._take()
        if state is not None and (state.node.stage is None or state.node.stage.name != stage.name):
            raise ReplayMismatch(f"the body called {stage.name} where the run has {state.node.id} on record")
        if state is not None and state.has_output:
            return self._output(state)
        if (stage.policy.effects or stage.policy.reads_key) and not self._effects:
            raise ConfigError(f"the body calls {stage.name}, which has effects; if that is right, add --effects")
        return self._local.call(stage, args, kwargs, mapped)

    def wait(self, node: Node) -> Any:
        """See ``context.Caller``."""
        state = self._take()
        if state is None or not state.has_output:
            raise NotFound(f"the body waits for {node.prompt!r}, to which the run has no answer on record")
        return self._output(state)

    def _take(self) -> NodeState | None:
        place, self._next = self._next, self._next + 1
        return self._fold.nodes[self._recorded[place]] if place < len(self._recorded) else None

    def _output(self, state: NodeState) -> Any:
        cells = self._here.cells(self._fold.run)
        found = [
            self._here.values.load(cell).value for span in state.outputs.spans
            for cell in cells.chunk(span.chunk)[span.at : span.at + span.stop - span.start]
        ]  # fmt: skip
        return found if state.many else found[0]


class _Nowhere:
    """The artifact store, to which nothing is written."""

    def __init__(self, here: Installation) -> None:
        self._store = here.artifacts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, *parts: bytes | bytearray | memoryview) -> Digest:
        """The digest alone."""
        return digest_bytes(b"".join(parts))


def _unstored(here: Installation) -> StoredValues:
    from orchestrator.artifacts.values import StoredValues

    store: Any = _Nowhere(here)
    return StoredValues(store, here.values.signer)


def _seed(run_seed: int, node: str, index: int) -> int:
    from orchestrator.backends.bundles.context import step_seed

    return step_seed(run_seed, node, index)
