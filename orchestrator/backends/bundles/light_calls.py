"""Light calls of ``@dynamic`` bodies that run in the body's own process, in a slot that it has borrowed.

One at a time in a process, so that the process's directory, environment and random generators can be the call's own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, NamedTuple

from orchestrator.backends.bundles.arguments import compile_arguments
from orchestrator.backends.bundles.context import Contexts
from orchestrator.backends.bundles.definitions import Definition
from orchestrator.backends.bundles.failure import describe_failure
from orchestrator.backends.bundles.services import Services
from orchestrator.backends.bundles.watchdog import Interrupted, Watch
from orchestrator.errors import InvalidStage
from orchestrator.graph.context import current, enter
from orchestrator.graph.fingerprint import asks_for_step
from orchestrator.graph.node import Const, Node
from orchestrator.ports.frames import Failed


class Ran(NamedTuple):
    """How a call went: the cell of its output or why there is none, and the wall time of its body."""

    cell: bytes | None
    failed: Failed | None
    elapsed_us: int


def may_run_here(node: Node) -> bool:
    """True for a single step that needs nothing but a slot, an interpreter and its arguments."""
    policy = node.policy
    return (
        node.kind == "stage"
        and not node.mapped
        and node.checks is None
        and policy.light
        and not policy.divides  # its table may be a large one
        and not policy.barrier
        and not policy.streaming
        and policy.cache_s is None
        and policy.timeout_s is None
    )


class LightCalls:
    """Runs calls for the bodies of one process.

    Args:
        compile: Finds the code of a node, given the run and the body's own node.
    """

    def __init__(self, services: Services, compile: Callable[[str, str, Node], Definition]) -> None:
        self._services = services
        self._compile = compile
        self._one = threading.Lock()

    def definition(self, run: str, body: str, node: Node) -> Definition | None:
        """A call ready to run here; None if it has to go to a worker."""
        if not may_run_here(node):
            return None
        found = self._compile(run, body, node)
        return None if asks_for_step(found.code.function) else found

    def run(self, definition: Definition, contexts: Contexts, watch: Watch) -> Ran:
        """Run a call to its end; whatever it raises is its outcome, but for what interrupts the body."""
        node, services = definition.node, self._services
        services.leave.wait()
        outer, cell, failed, started = current(), None, None, perf_counter_ns()
        spans = services.spans
        token = None if spans is None else spans.enter(contexts.run, node.id, 0, 1)
        with self._one:
            try:
                context = contexts.of(node.id, 0, 1, ())
                if services.surroundings is not None and definition.code.draws:
                    services.surroundings.prepare(context)
                enter(context)
                started = perf_counter_ns()
                cell = services.values.encode(self._called(definition))
                if context.proposed_cursors is not None:
                    raise InvalidStage(f"{node.id} reads a cursor without naming step; write step().cursor in its body")
            except BaseException as error:
                if isinstance(error, Interrupted) or (isinstance(error, KeyboardInterrupt) and services.shares_process):
                    raise
                failed = describe_failure(node.id, 0, error, definition.code.root, services.log.mask)
            finally:
                elapsed_us = min((perf_counter_ns() - started) // 1000, 0xFFFFFFFF)
                enter(outer)
                if spans is not None and token is not None:
                    spans.leave(token)
                if services.surroundings is not None:
                    services.surroundings.restore()
            if watch.forked:
                os._exit(1)  # a forked child came back: what it does from here on is not the body's
            written = services.log.end_step(elapsed_us)
        if written is not None:
            services.outbox.logged(watch.bundle, node.id, 0, *written)
        return Ran(cell, failed, elapsed_us)

    def value(self, cell: bytes) -> Any:
        """The output of a call, as a body gets it whoever ran the call."""
        argument = self._services.reader({}, 0, 0).argument(Const(cell=cell))
        return argument.value if argument.get is None else argument.get(0)

    def _called(self, definition: Definition) -> Any:
        reader = self._services.reader({}, 0, 1)
        args, kwargs = compile_arguments(definition.node, definition.signature, reader).of(0)
        return definition.code.function(*args, **kwargs)
