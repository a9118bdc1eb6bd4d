"""Calls of stages inside a ``@dynamic`` body: each is a node of the run with an outcome of its own.

A call goes to the driver and comes back as an outcome; a light one runs here if the body has a slot, and the driver is
told both at once, some time later.
"""

from __future__ import annotations

import importlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from blake3 import blake3

from orchestrator.backends.bundles.context import Contexts
from orchestrator.backends.bundles.definitions import Definition
from orchestrator.backends.bundles.lent_slot import LentSlot
from orchestrator.backends.bundles.light_calls import LightCalls
from orchestrator.backends.bundles.services import Services
from orchestrator.backends.bundles.watchdog import Watch
from orchestrator.errors import OrchestratorError, PlaceholderMisuse, StepError
from orchestrator.graph.json import node_to_bytes, seal_node
from orchestrator.graph.node import Const, Expr, ListExpr, Node, Ref, SecretRef
from orchestrator.graph.stage import Stage
from orchestrator.graph.trace import call_node
from orchestrator.ports.frames import Borrow, Call, HandBack, Input, Returned
from orchestrator.ports.values import decode_cell, digest_of
from orchestrator.types import Digest

POLL_S = 0.2
"""How often a waiting body looks whether it has been interrupted."""


@dataclass(frozen=True, slots=True)
class Body:
    """A ``@dynamic`` step that runs.

    Attributes:
        recorded: How many of its calls the journal holds: they are replayed.
    """

    run: str
    bundle: str
    node: Node
    index: int
    recorded: int

    @property
    def max_steps(self) -> int | None:
        """Most calls it may make; None for no limit."""
        return self.node.policy.max_steps

    @property
    def scope(self) -> str:
        """Scope of its calls' ids."""
        return f"{self.node.id}[{self.index}]" if self.node.is_map else self.node.id


class BodyCaller:
    """Makes the calls of one body; blocks its thread until the answer is there.

    Args:
        send: Gives a frame to the transport; may not be interrupted halfway (``Watch.shield``).
        load: The value of an output that the driver sent, given its inline chunks.
    """

    def __init__(
        self,
        body: Body,
        services: Services,
        contexts: Contexts,
        watch: Watch,
        light: LightCalls,
        send: Callable[[Call | Borrow | HandBack], None],
        load: Callable[[Input, Mapping[Digest, bytes]], Any],
    ) -> None:
        self.bundle = body.bundle
        self.slot = LentSlot(body.bundle, send)
        self._body = body
        self._values = services.values
        self._outbox = services.outbox
        self._contexts = contexts
        self._watch = watch
        self._light = light
        self._send = send
        self._load = load
        self._thread = threading.get_ident()
        self._ordinal = 0
        self._names: Counter[str] = Counter()
        self._answers: SimpleQueue[Returned] = SimpleQueue()

    def call(self, stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: bool) -> Any:
        """Run a stage as a durable step of its own; see ``graph.context.Caller``."""
        return self._make(call_node(stage, args, kwargs, mapped=mapped, node_id=self._child_id(stage.name)))

    def wait(self, node: Node) -> Any:
        """Outcome of a node, whatever it takes.

        Raises:
            PlaceholderMisuse: called from another thread than the body's.
            Exception: the step failed; of the class it failed with, where that can be imported.
        """
        return self._make(node._replace(id=self._child_id(node.name)))

    def _make(self, node: Node) -> Any:
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        sealed = seal_node(node, self._values.encode)
        call = Call(self._body.node.id, self._body.index, ordinal, call_key(sealed), node_to_bytes(sealed))
        definition = self._to_run_here(ordinal, sealed)
        if definition is not None:
            cell = self._run_here(call, definition)
            if cell is not None:
                return self._light.value(cell)
        self.slot.hand_back()  # the call may need it
        if definition is None:
            self._flush_calls()
            self._send(call)
        returned = self._answer(ordinal)
        if returned.output is None:
            raise rebuilt_error(returned.classes, returned.message)
        return self._load(returned.output, returned.chunks)

    def _to_run_here(self, ordinal: int, node: Node) -> Definition | None:
        """The call's code, if it may run here and now."""
        limit = self._body.max_steps
        if ordinal < self._body.recorded or (limit is not None and ordinal >= limit):
            return None
        definition = self._light.definition(self._body.run, self._body.node.id, node)
        return definition if definition is not None and self.slot.take() else None

    def _run_here(self, call: Call, definition: Definition) -> bytes | None:
        """Run a call and report it; None if it failed, about which the driver decides."""
        try:
            ran = self._light.run(definition, self._contexts, self._watch)
        finally:
            self.slot.done()
        with self._watch.shield():
            full = self._outbox.called(self.bundle, call, ran.cell, ran.elapsed_us, ran.failed)
        if full:
            self._flush_calls()
        return ran.cell

    def _flush_calls(self) -> None:
        """Tell the driver of the calls so far: it takes them in their order."""
        self._outbox.await_credit()
        with self._watch.shield():
            self._outbox.flush_calls(self.bundle)

    def _child_id(self, name: str) -> str:
        """``scope/name``, from the second call of that name on with its ordinal: the same in every replay.

        Raises:
            PlaceholderMisuse: called from another thread than the body's.
        """
        if threading.get_ident() != self._thread:
            raise PlaceholderMisuse(
                f"{name} was called in {self._body.node.id} from a thread that the body started: the order of such "
                "calls differs between replays. Call stages from the body itself; .map(...) runs them at the same time"
            )
        self._names[name] += 1
        count = self._names[name]
        return f"{self._body.scope}/{name}" if count == 1 else f"{self._body.scope}/{name}#{count}"

    def returned(self, answer: Returned) -> None:
        """The driver answered; from another thread."""
        self._answers.put(answer)

    def _answer(self, ordinal: int) -> Returned:
        while True:
            try:
                answer = self._answers.get(timeout=POLL_S)
            except Empty:
                continue
            if answer.ordinal == ordinal:
                return answer


def call_key(node: Node) -> Digest:
    """Digest of what a call does: the stage's code and the digests of its inputs."""
    hasher = blake3()

    def add(*parts: str) -> None:
        for part in parts:
            hasher.update(f"{len(part)}:{part}".encode())

    def add_expr(expr: Expr) -> None:
        if isinstance(expr, Const):
            add("const", digest_of(decode_cell(expr.cell or b"\xc0")))
        elif isinstance(expr, SecretRef):
            add("secret", expr.reference)
        elif isinstance(expr, Ref):
            add("ref", expr.node, repr(expr.path))
        elif isinstance(expr, ListExpr):
            add("tuple" if expr.is_tuple else "list", str(len(expr.items)))
            for item in expr.items:
                add_expr(item)
        else:
            add("dict", str(len(expr.items)))
            for key, item in expr.items.items():
                add(key)
                add_expr(item)

    add(node.kind, node.stage.fingerprint if node.stage else node.prompt, *node.mapped)
    for name in sorted(node.args):
        add(name)
        add_expr(node.args[name])
    return hasher.hexdigest()


def rebuilt_error(classes: list[str], message: str) -> Exception:
    """An exception of the first of these classes that can be imported, so that the body can catch it by its class.

    Its ``__init__`` is not called: only the message came over.
    """
    for path in classes:
        module, _, qualname = path.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in qualname.split("."):
                found = getattr(found, part)
            if issubclass(found, Exception):
                error: Exception = found.__new__(found)
                error.args = (message,)
                if isinstance(error, OrchestratorError):
                    error.message, error.details = message, {}
                return error
        except Exception:  # whatever the class does on the way: its base will do
            continue
    return StepError(message)
