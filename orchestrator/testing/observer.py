"""Watching stage functions at work: what went in, what came out, what changed, and whether a repetition agrees.

For every call two lines go to files outside the system: ``Started`` before the body, ``Observed`` after it.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from orchestrator.backends.bundles.surroundings import Surroundings
from orchestrator.graph.context import StepContext, active, current
from orchestrator.ports.values import decode_cell, digest_bytes, digest_of
from orchestrator.testing.ledger import Started, append_line, read_lines
from orchestrator.testing.touches import Touch, Touches

if TYPE_CHECKING:
    from orchestrator.artifacts.signing import Signer
    from orchestrator.artifacts.values import StoredValues

REPEATED_ITEMS = 3
"""So many steps of a node are repeated; the others of a wide map are taken to be alike."""

_PLAIN = (list, dict, set, bytearray, int, float, str, bytes, tuple)


class Observed(NamedTuple):
    """A step body ended.

    Attributes:
        inputs, output, repeated: Digests; empty where there is none. ``repeated`` is that of a second call with the
            same inputs in the same process.
        mutated: Parameters whose values the body changed.
        globals_changed: Global names that the body's code refers to and whose values it changed.
        touched: What it did to the outside; ``key_read`` whether it asked for ``step().key``.
    """

    run: str
    step: str
    attempt: int
    epoch: int
    pid: int
    inputs: str
    output: str = ""
    error: str = ""
    repeated: str = ""
    mutated: tuple[str, ...] = ()
    globals_changed: tuple[str, ...] = ()
    touched: tuple[Touch, ...] = ()
    key_read: bool = False

    @property
    def node(self) -> str:
        """The step's address without its item."""
        return self.step.rpartition("[")[0]


def read_observed(path: str | Path) -> list[Observed]:
    """All complete lines; empty if there are none."""
    found = []
    for line in read_lines(path):
        line["touched"] = tuple(Touch(*touch) for touch in line["touched"])
        line["mutated"], line["globals_changed"] = tuple(line["mutated"]), tuple(line["globals_changed"])
        found.append(Observed(**line))
    return found


class BodyObserver:
    """Makes watched functions of stage functions (``InProcess(around=observer)``).

    Args:
        ledger, observed: Files of the lines.
        signer: Of the installation: pickles have the digests that the engine's have.
        repeats: Whether steps are called a second time; those that ``once`` names are not.
        touches: Tells what bodies do to the outside.
    """

    def __init__(
        self,
        ledger: Path,
        observed: Path,
        signer: Signer,
        touches: Touches | None = None,
        repeats: bool = False,
        once: Callable[[str], bool] = lambda node: False,
    ) -> None:
        self._ledger = ledger
        self._observed = observed
        self._signer = signer
        self._touches = touches
        self._repeats = repeats
        self._once = once
        self._surroundings = Surroundings()
        self._seen: dict[str, int] = {}

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with this observer around it."""
        if inspect.isgeneratorfunction(inspect.unwrap(function)):

            @functools.wraps(function)
            def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
                yield from self._watched(lambda *a, **k: list(function(*a, **k)), function, args, kwargs)

            return stream

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._watched(function, function, args, kwargs)

        return call

    def _watched(
        self, call: Callable[..., Any], function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        context = current()
        if context is None:
            return call(*args, **kwargs)
        append_line(self._ledger, Started(
            context.run_id, context.address, context.attempt, "", "", os.getpid(), time.time(), context.epoch
        )._asdict())  # fmt: skip
        given = self._arguments(function, args, kwargs)
        repeat = self._repetition(context, call, args, kwargs)
        globals_before = _globals(function, self._digest) if self._repeats else {}
        seen = Observed(
            context.run_id, context.address, context.attempt, context.epoch, os.getpid(), _joined(given)
        )  # fmt: skip
        touched: list[Touch] = []
        try:
            self._surroundings.prepare(context)
            with self._listening() as touched:
                result = call(*args, **kwargs)
        except BaseException as error:
            seen = seen._replace(error=f"{type(error).__name__}: {error}"[:300])
            raise
        else:
            after, changed = self._arguments(function, args, kwargs), _globals(function, self._digest)
            seen = seen._replace(
                output=self._digest(result),
                mutated=tuple(name for name in given if given[name] != after.get(name)),
                globals_changed=tuple(name for name, digest in globals_before.items() if changed.get(name) != digest),
            )
            if repeat is not None:
                seen = seen._replace(repeated=repeat())
            return result
        finally:
            read = context.key_was_read
            append_line(self._observed, seen._replace(touched=tuple(touched), key_read=read)._asdict())

    def _repetition(
        self, context: StepContext, call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Callable[[], str] | None:
        """A second call with copies of the same inputs; None for steps that are not to be repeated."""
        count = self._seen[context.node] = self._seen.get(context.node, 0) + 1
        if not self._repeats or count > REPEATED_ITEMS or context.caller is not None or self._once(context.node):
            return None
        try:
            again_args, again_kwargs = copy.deepcopy((args, dict(kwargs)))
        except Exception:  # an argument's class may refuse in its own way; then there is nothing to compare
            return None

        def again() -> str:
            fresh = context.__class__.__new__(context.__class__)
            fresh.__dict__.update({n: v for n, v in vars(context).items() if n != "_random"})
            with active(fresh), self._listening():
                self._surroundings.prepare(fresh)
                try:
                    return self._digest(call(*again_args, **again_kwargs))
                except Exception as error:
                    return f"{type(error).__name__}: {error}"[:300]

        return again

    def _listening(self) -> AbstractContextManager[list[Touch]]:
        return nullcontext([]) if self._touches is None else self._touches.of_body()

    def _arguments(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> dict[str, str]:
        bound = inspect.signature(function).bind(*args, **kwargs)
        return {name: self._digest(value) for name, value in bound.arguments.items()}

    def _digest(self, value: Any) -> str:
        """Content digest of a value; empty for what cannot be encoded."""
        with nullcontext() if self._touches is None else self._touches.muted():
            try:
                return digest_of(decode_cell(self._values.encode(value)))[:24]
            except Exception:  # a value's own methods may raise anything; the engine tells the author about it
                return ""

    @functools.cached_property
    def _values(self) -> StoredValues:
        from orchestrator.artifacts.values import StoredValues

        return StoredValues(cast(Any, _OnlyDigests()), self._signer)


class _OnlyDigests:
    """An artifact store that keeps nothing."""

    def put(self, *parts: bytes | bytearray | memoryview) -> str:
        return digest_bytes(b"".join(parts))


def _joined(digests: Mapping[str, str]) -> str:
    return digest_bytes("\n".join(f"{name} {digest}" for name, digest in sorted(digests.items())).encode())[:24]


def _globals(function: Callable[..., Any], digest: Callable[[Any], str]) -> dict[str, str]:
    """Digests of the plain values that a function's code finds under global names."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    names = getattr(inspect.unwrap(function), "__globals__", {})
    if code is None:
        return {}
    return {name: digest(names[name]) for name in code.co_names if isinstance(names.get(name), _PLAIN)}
