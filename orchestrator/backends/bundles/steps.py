"""Running the steps of a bundle: arguments in, the body, its output or failure out.

The loop in ``_run_prepared`` is the path that every light step takes; what it needs is prepared once per segment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter_ns
from typing import Any

from orchestrator.backends.bundles.arguments import Arguments, compile_arguments
from orchestrator.backends.bundles.bundle import Part, RunningBundle
from orchestrator.backends.bundles.context import BundleStep, Contexts
from orchestrator.backends.bundles.definitions import Definition, Definitions, Loaded, Plain
from orchestrator.backends.bundles.failure import describe_failure, not_the_bodys
from orchestrator.backends.bundles.inspection import Inspection, Inspector, Observer
from orchestrator.backends.bundles.outputs import InputMissing
from orchestrator.backends.bundles.profile import PLAIN
from orchestrator.backends.bundles.services import Services
from orchestrator.backends.bundles.surroundings import Surroundings
from orchestrator.backends.bundles.watchdog import Watch
from orchestrator.errors import ReplayMismatch, StoreUnavailable
from orchestrator.graph.context import Caller, enter
from orchestrator.graph.node import NodeKind
from orchestrator.graph.policy import Policy
from orchestrator.ports.frames import CHECKPOINTS, Failed, Input
from orchestrator.ports.values import Cell, Entry, decode_cell, digest_of

_LONGEST_US = 0xFFFFFFFF
_SHORT_ARRAY = 0x9
"""First half of the first byte of a described value in msgpack; other cells are plain scalars."""


class StepRunner:
    """Runs one bundle in the calling thread.

    Args:
        give_back: Tells the driver of steps that were not started.
        surroundings: Put back between steps; None where steps run at the same time.
        caller: Makes the caller of a ``@dynamic`` body, given its node, item, and how many calls are recorded.
        alone: No other bundle is under way: what the process uses from the first body on is used by this one.
    """

    def __init__(
        self,
        services: Services,
        bundle: RunningBundle,
        watch: Watch,
        surroundings: Surroundings | None,
        give_back: Callable[[str, list[tuple[str, int, int]]], None],
        caller: Callable[[RunningBundle, Definition, int, int, Contexts], Caller],
        alone: bool = False,
    ) -> None:
        self._services = services
        self._bundle = bundle
        self._watch = watch
        self._surroundings = surroundings
        self._give_back = give_back
        self._caller = caller
        self._contexts = Contexts(
            bundle.run, bundle.id, bundle.epoch, bundle.seed, services.outbox, watch, services.ports, services.values,
            bundle.cursors,
        )  # fmt: skip
        self._elapsed_us = 0
        self._unmeasured = alone
        self._observer = Observer(bundle.id, services.values, services.outbox, watch)

    def run_part(self, part: Part, known: Definitions) -> None:
        """Run the steps of one segment; whatever happens becomes an outcome."""
        segment, watch = part.segment, self._watch
        self._services.leave.wait()
        root = ""
        try:
            plain = known.plain(self._bundle.run, segment.node)
            values = None if plain is None else self._at_hand(segment.inputs, plain[2])
            if plain is None or values is None:
                try:
                    watch.begin(segment.node, part.next)
                    definition = known.of(self._bundle.run, segment.node)
                    root = definition.code.root
                    watch.timeout_s = definition.node.policy.timeout_s
                    watch.begin(segment.node, part.next)
                    arguments = self._prepare(part, definition)
                finally:
                    watch.end()
        except InputMissing:
            self._give_back(self._bundle.id, self._bundle.drop_part(part))
        except BaseException as error:
            watch.end()
            shown = watch.error() if watch.cause else not_the_bodys(error)
            while (index := self._bundle.take(part)) is not None:
                failed = describe_failure(segment.node, index, shown, root, self._services.log.mask)
                self._services.outbox.fail(self._bundle.id, failed)
        else:
            if self._unmeasured:  # to load the code of a stage is not its body
                self._unmeasured = False
                self._services.outbox.begin()
            if plain is not None and values is not None:
                self._run_plain(part, plain, values)
            else:
                self._run_prepared(part, definition, arguments)

    def _prepare(self, part: Part, definition: Definition) -> Arguments:
        bundle, services = self._bundle, self._services
        if definition.whole_inputs:
            plain = self._at_hand(part.segment.inputs, definition.whole_inputs)
            if plain is not None:
                return Arguments(plain, (), None)
        outputs = {
            source.node: services.outputs_of(source, bundle.inline, bundle.made) for source in part.segment.inputs
        }
        reader = services.reader(outputs, part.next, part.stop)
        return compile_arguments(definition.node, definition.signature, reader)

    def _at_hand(self, sources: Sequence[Input], inputs: Mapping[str, str]) -> dict[str, Any] | None:
        """Arguments that are the outputs of single steps, if they all are plain scalars: nothing to load or copy."""
        scalars = self._bundle.scalars
        for source in sources:
            if source.node not in scalars and not self._look_at(source):
                return None
        return {name: scalars[node] for name, node in inputs.items()}

    def _look_at(self, source: Input) -> bool:
        """Note the output of a single step, made here or sent with the bundle, if it is a plain scalar."""
        bundle = self._bundle
        if source.many or len(source.spans) != 1:
            return False
        span = source.spans[0]
        if span.chunk in bundle.inline:
            cell = self._services.cell(span, bundle.inline[span.chunk])
        elif (source.node, 0) in bundle.made:
            cell = decode_cell(bundle.made[source.node, 0])
        else:
            return False
        if isinstance(cell, Entry):
            return False
        bundle.scalars[source.node] = cell
        return True

    def _run_plain(self, part: Part, plain: Plain, values: Mapping[str, Any]) -> None:
        """Run the only step of a node whose arguments are at hand; all that happens to a link of a chain."""
        bundle, name, (code, policy, _) = self._bundle, part.segment.node, plain
        index = bundle.take(part)
        if index is None:
            return
        self._watch.timeout_s = policy.timeout_s
        context = None
        if code.draws:
            context = self._contexts.of(name, index, part.segment.attempts.get(index, 1), policy.uses)
        cell = self._attempt(name, index, context, code, lambda index: self._output(name, index, code, policy, values))
        if cell is None:
            return
        if name in bundle.wanted:
            bundle.made[name, index] = cell
            value = decode_cell(cell)
            if not isinstance(value, Entry):
                bundle.scalars[name] = value
        proposed = None if context is None else context.proposed_cursors
        self._services.outbox.complete_single(bundle.id, name, cell, self._elapsed_us, *_seen("stage", cell), proposed)

    def _output(self, name: str, index: int, code: Loaded, policy: Policy, values: Mapping[str, Any]) -> bytes:
        started = perf_counter_ns()
        result = code.function(**values)
        self._elapsed_us = min((perf_counter_ns() - started) // 1000, _LONGEST_US)
        if policy.profile and type(result) not in PLAIN:
            self._observer.profile(name, index, result, self._elapsed_us)
        try:
            return self._services.values.encode(result)
        except StoreUnavailable as error:
            raise not_the_bodys(error) from error

    def _run_prepared(self, part: Part, definition: Definition, arguments: Arguments) -> None:
        """Run each step; for a light step in a map this loop is all that happens."""
        node = definition.node
        name, uses, bundle, outbox = node.id, node.policy.uses, self._bundle, self._services.outbox
        body, saved = self._body(part, definition, arguments), self._checkpoints(part)
        wanted = bundle.made if name in bundle.wanted else None
        take, attempts, is_dynamic = bundle.take, part.segment.attempts, node.kind == "dynamic"
        while (index := take(part)) is not None:
            caller = self._caller(bundle, definition, index, part.segment.calls, self._contexts) if is_dynamic else None
            context = self._contexts.of(
                name, index, attempts.get(index, 1), uses, saved.get(index), caller, node.is_map
            )
            cell = self._attempt(name, index, context, definition.code, body)
            if cell is None:
                continue
            proposed = context.proposed_cursors
            if wanted is not None:
                wanted[name, index] = cell
            if node.is_map:
                outbox.complete(bundle.id, name, index, cell, self._elapsed_us, proposed)
            else:
                outbox.complete_single(bundle.id, name, cell, self._elapsed_us, *_seen(node.kind, cell), proposed)

    def _attempt(
        self, node: str, index: int, context: BundleStep | None, code: Loaded, body: Callable[[int], bytes]
    ) -> bytes | None:
        """Cell of a step's output; None if it failed, which is on its way to the driver then.

        Without a context the step is one that computes with plain scalars and reaches nothing else: there is nothing
        that it could leave behind.
        """
        watch, surroundings = self._watch, self._surroundings
        cell: bytes | None = None
        error: BaseException | None = None
        self._elapsed_us = 0
        spans = None if context is None else self._services.spans
        token = (
            None if spans is None or context is None else spans.enter(self._bundle.run, node, index, context.attempt)
        )
        try:
            try:
                if context is not None:
                    if surroundings is not None and code.draws:
                        surroundings.prepare(context)
                    enter(context)
                watch.begin(node, index)
                cell = body(index)
            finally:
                watch.end()
        except BaseException as raised:
            watch.end()  # an interruption may have come just before the first
            error = raised
        if spans is not None and token is not None:
            spans.leave(token)
        if watch.forked:
            os._exit(1)  # a forked child came back from the body: what it does from here on is not the step's
        failed: Failed | None = None
        if watch.cause:
            error = watch.error().with_traceback(error.__traceback__ if error is not None else None)
        if error is not None:
            if isinstance(error, KeyboardInterrupt) and self._services.shares_process:
                raise error
            failed = self._describe(node, index, error, code.root)
            error = None  # with its traceback it would keep all that the step held
        if context is not None:
            if surroundings is not None:
                surroundings.restore()
            written = self._services.log.end_step(self._elapsed_us)
            if written is not None:
                self._services.outbox.logged(self._bundle.id, node, index, *written)
        if failed is None:
            return cell
        self._services.outbox.fail(self._bundle.id, failed)
        return None

    def _describe(self, node: str, index: int, error: BaseException, root: str) -> Failed:
        """Describe an exception under the step's time-out, because its ``__str__`` is the author's code too."""
        watch, mask = self._watch, self._services.log.mask
        if watch.cause:
            return describe_failure(node, index, error, root, mask)
        try:
            try:
                watch.begin(node, index)
                return describe_failure(node, index, error, root, mask)
            finally:
                watch.end()
        except BaseException:
            watch.end()
            return describe_failure(node, index, watch.error(), root)

    def _body(self, part: Part, definition: Definition, arguments: Arguments) -> Callable[[int], bytes]:
        """What running a step means for this kind of node: from its index to the cell of its output."""
        node, function = definition.node, definition.code.function
        encode, arguments_of = self._services.values.encode, arguments.of
        observer = self._observer
        inspector = None if node.checks is None else observer.inspector(node, function, part.segment.attempts)
        if node.policy.streaming:
            return lambda index: self._stream(part, function, arguments, index, inspector)
        profiles = node.policy.profile

        def body(index: int) -> bytes:
            args, kwargs = arguments_of(index)
            started = perf_counter_ns()
            result = function(*args, **kwargs)
            self._elapsed_us = min((perf_counter_ns() - started) // 1000, _LONGEST_US)
            if profiles and type(result) not in PLAIN:
                observer.profile(node.id, index, result, self._elapsed_us)
            if inspector is not None:
                with inspector.inspecting(index, args, kwargs) as inspection:
                    inspection.look(result)
                    inspection.raise_if_blocked()
            try:
                return encode(result)
            except StoreUnavailable as error:
                raise not_the_bodys(error) from error

        return body

    def _stream(
        self,
        part: Part,
        function: Callable[..., Any],
        arguments: Arguments,
        index: int,
        inspector: Inspector | None,
    ) -> bytes:
        """Send each batch as it comes, checked. Those that an earlier attempt delivered must come out the same."""
        args, kwargs = arguments.of(index)
        if inspector is None:
            return self._batches(part, function(*args, **kwargs))
        with inspector.inspecting(index, args, kwargs) as inspection:
            return self._batches(part, function(*args, **kwargs), inspection)

    def _batches(self, part: Part, made: Iterable[object], inspection: Inspection | None = None) -> bytes:
        name, bundle = part.segment.node, self._bundle
        values, outbox = self._services.values, self._services.outbox
        known = self._delivered(part)
        started = perf_counter_ns()
        for number, batch in enumerate(made):
            if inspection is not None:
                inspection.look(batch)
                inspection.raise_if_blocked()
            cell = values.encode(batch)
            if number >= len(known):
                outbox.await_credit()
                with self._watch.shield():
                    outbox.batch(bundle.id, name, number, cell)
            elif digest_of(decode_cell(cell)) != digest_of(known[number]):
                raise ReplayMismatch(
                    f"batch {number} of {name} is not what an earlier attempt delivered: a streaming stage that is "
                    "retried must yield the same batches again"
                )
        self._elapsed_us = min((perf_counter_ns() - started) // 1000, _LONGEST_US)
        return values.encode(None)

    def _checkpoints(self, part: Part) -> dict[int, Cell]:
        """What earlier attempts of these steps kept."""
        kept = [source for source in part.segment.inputs if source.node == CHECKPOINTS]
        if not kept:
            return {}
        found = [self._services.outputs_of(source, self._bundle.inline) for source in kept]
        return {span.start: outputs.at(span.start) for source, outputs in zip(kept, found, strict=True)
                for span in source.spans}  # fmt: skip

    def _delivered(self, part: Part) -> list[Cell]:
        """Batches that the journal holds already: the driver names them as an input of the step itself."""
        own = [source for source in part.segment.inputs if source.node == part.segment.node]
        return [cell for source in own for cell in self._services.outputs_of(source, self._bundle.inline).all()]


def _seen(kind: NodeKind, cell: bytes) -> tuple[bool | None, int | None]:
    """What the driver has to know of a single output: the side a branch takes, the width of maps over a list."""
    if cell[0] >> 4 != _SHORT_ARRAY and kind != "branch":
        return None, None
    value = decode_cell(cell)
    if isinstance(value, Entry):
        return (value.truth if kind == "branch" else None), (value.length if value.codec != "dict" else None)
    return (bool(value) if kind == "branch" else None), None
