"""``when``: a choice between two branches, both drawn, one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from orchestrator.errors import InvalidPipeline, PlaceholderMisuse
from orchestrator.graph.annotation import union
from orchestrator.graph.node import Guard, Ref
from orchestrator.graph.placeholder import Placeholder
from orchestrator.graph.source import refusal
from orchestrator.graph.trace import Trace, tracing
from orchestrator.graph.wiring import type_of

T = TypeVar("T")
U = TypeVar("U")


@overload
def when(cond: object, then: Callable[[], T], otherwise: None = None) -> T | None: ...
@overload
def when(cond: object, then: Callable[[], T], otherwise: Callable[[], U]) -> T | U: ...
def when(cond: object, then: Callable[[], Any], otherwise: Callable[[], Any] | None = None) -> Any:
    """Value of ``then()`` if ``cond`` turns out true, else of ``otherwise()`` (None without one).

    While tracing, with the result of a stage as ``cond``, both branches become part of the graph, each in its own
    scope; what is made in a branch may be used outside only through the value of ``when``. Any other ``cond`` is
    decided at once, like an ``if``.

    Raises:
        InvalidPipeline: a branch is not a function.
        BranchEscape: a result of one branch is used in the other.
    """
    for name, branch in (("then", then), ("otherwise", otherwise)):
        missing = branch is None and name == "otherwise"
        if isinstance(branch, Placeholder) or not (missing or callable(branch)):
            raise refusal(InvalidPipeline, f"when(…): {name} is a function to be called, such as {name}=lambda: …")
    if not isinstance(cond, Placeholder):
        chosen = then if cond else otherwise
        return None if chosen is None else chosen()
    trace = tracing()
    if trace is None:
        raise refusal(PlaceholderMisuse, "when(…) got the result of a stage, but no pipeline is being traced")
    return _trace_branches(trace, cond, then, otherwise)


def _trace_branches(
    trace: Trace, cond: Placeholder, then: Callable[[], Any], otherwise: Callable[[], Any] | None
) -> Placeholder:
    scope = trace.unique("when")
    with trace.inside(scope):
        branch = trace.add("branch", "branch", args={"value": trace.expr(cond)})
    args: dict[str, Ref] = {"branch": Ref(branch.id)}
    types: list[Any] = []
    for name, body, expected in (("then", then, True), ("otherwise", otherwise, False)):
        if body is None:
            types.append(type(None))
            continue
        with trace.inside(f"{scope}/{name}", Guard(branch.id, expected)):
            value = body()
            args[name] = _plain_ref(trace, value)
        types.append(type_of(value))
    with trace.inside(scope):
        choice = trace.add("choice", "choice", args=args)
    return trace.placeholder(choice, union(*types))


def _plain_ref(trace: Trace, value: object) -> Ref:
    """The node whose single output is the branch's value; a ``pack`` node where there is none."""
    expr = trace.expr(value)
    if isinstance(expr, Ref) and not expr.path and isinstance(value, Placeholder) and not value._orc_origin.many:
        return expr
    return Ref(trace.add("pack", "pack", args={"value": expr}).id)
