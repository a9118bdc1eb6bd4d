"""Calls of stages inside a ``@dynamic`` body: each goes to the driver as a node and comes back as an outcome."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from blake3 import blake3

from orchestrator.errors import OrchestratorError, PlaceholderMisuse, StepError
from orchestrator.graph.json import node_to_bytes, seal_node
from orchestrator.graph.node import Const, Expr, ListExpr, Node, Ref, SecretRef
from orchestrator.graph.stage import Stage
from orchestrator.graph.trace import call_node
from orchestrator.ports.frames import Call, Input, Returned
from orchestrator.ports.values import Values, decode_cell, digest_of
from orchestrator.types import Digest

POLL_S = 0.2
"""How often a waiting body looks whether it has been interrupted."""


class BodyCaller:
    """Makes the calls of one body; blocks its thread until the answer is there.

    Args:
        load: The value of an output that the driver sent, given its inline chunks.
    """

    def __init__(
        self,
        bundle: str,
        node: str,
        index: int,
        values: Values,
        send: Callable[[Call], None],
        load: Callable[[Input, Mapping[Digest, bytes]], Any],
    ) -> None:
        self.bundle = bundle
        self._node = node
        self._index = index
        self._values = values
        self._send = send
        self._load = load
        self._thread = threading.get_ident()
        self._ordinal = 0
        self._answers: SimpleQueue[Returned] = SimpleQueue()

    def call(self, stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: bool) -> Any:
        """Run a stage as a durable step of its own; see ``graph.context.Caller``."""
        return self.wait(call_node(stage, args, kwargs, mapped=mapped))

    def wait(self, node: Node) -> Any:
        """Outcome of a node, whatever it takes.

        Raises:
            PlaceholderMisuse: called from another thread than the body's.
            Exception: the step failed; of the class it failed with, where that can be imported.
        """
        if threading.get_ident() != self._thread:
            raise PlaceholderMisuse(
                f"{node.name} was called in {self._node} from a thread that the body started: the order of such calls "
                "differs between replays. Call stages from the body itself; .map(...) runs them at the same time"
            )
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        sealed = seal_node(node, self._values.encode)
        self._send(Call(self._node, self._index, ordinal, call_key(sealed), node_to_bytes(sealed)))
        returned = self._answer(ordinal)
        if returned.output is None:
            raise rebuilt_error(returned.classes, returned.message)
        return self._load(returned.output, returned.chunks)

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
