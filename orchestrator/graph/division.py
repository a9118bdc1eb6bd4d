"""Calls of stages with ``scope=`` on a table that comes in parts: the batches of a stream, or a list of tables.

Rows go part by part, each call a step of its own that starts when its part exists; groups and whole tables get all
parts together. A stage with ``merge=`` fits part by part, and one more step makes one of what came out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InvalidStage
from orchestrator.graph.annotation import describe, item_type, members, plain, union
from orchestrator.graph.item import fixed
from orchestrator.graph.options import MISSING
from orchestrator.graph.placeholder import Placeholder
from orchestrator.graph.policy import Resources
from orchestrator.graph.source import refusal

if TYPE_CHECKING:
    from orchestrator.graph.stage import Stage


def check_division(stage: Stage[Any, Any]) -> None:
    """Refuse ``scope=`` and ``merge=`` where they make no sense; raises InvalidStage."""
    name, policy = stage.name, stage.policy
    if stage.merge is not None and not policy.divides:
        raise InvalidStage(f"stage {name!r}: merge= goes with scope='rows' or 'groups': it makes one of their results")
    if stage.merge is not None and policy.has_fallback:
        raise InvalidStage(f"stage {name!r}: a fallback cannot stand for a part; leave out fallback= or merge=")
    if policy.scope and not stage.parameters.positional:
        raise InvalidStage(f"stage {name!r}: scope= is about a table that is the first parameter, and there is none")


def divided_hints(stage: Stage[Any, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Types of the parameters, where the first takes a table in one piece or in parts.

    Raises:
        InvalidStage: the first parameter is no table.
    """
    name = stage.parameters.positional[0].name
    wanted: Any = plain(found.get(name, Any))
    if wanted is Any:
        return found
    for option in members(wanted) or (wanted,):
        module = getattr(option, "__module__", "").partition(".")[0]
        if not (module == "pyarrow" and getattr(option, "__name__", "") == "Table"):
            raise refusal(
                InvalidStage,
                f"stage {stage.name!r}: scope={stage.policy.scope!r} divides the first parameter, which is to be a "
                f"pyarrow.Table; {name} is a {describe(wanted)}",
            )
    return {**found, name: union(wanted, GenericAlias(list, (wanted,)))}


def comes_in_parts(value: Any) -> bool:
    """True for a stream, a list of tables or an iterator, or a placeholder of one."""
    if isinstance(value, Placeholder):
        origin = value._orc_origin
        return origin.many or (plain(origin.type) is not Any and item_type(origin.type) is not None)
    return isinstance(value, list | tuple) or hasattr(type(value), "__next__")


def goes_part_by_part(stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """True if this call is one call for each part."""
    name = stage.parameters.positional[0].name
    return stage.policy.scope == "rows" and comes_in_parts(args[0] if args else kwargs.get(name))


def call_on_parts(stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """One call for each part, and one that merges if the stage has ``merge=``."""
    first = stage.parameters.positional[0].name
    table, rest = (args[0], args[1:]) if args else (kwargs[first], ())
    shared = {name: value for name, value in kwargs.items() if args or name != first}
    if stage.merge is None:
        return stage.map(table, *map(fixed, rest), **shared)
    return _merging(stage)(_partial(stage).map(table, *map(fixed, rest), **shared))


def _partial(stage: Stage[Any, Any]) -> Stage[Any, Any]:
    """The stage for one part: what it is declared to come to concerns the merged result."""
    policy = replace(stage.policy, scope="", publish="")
    return type(stage)(stage.function, "stage", {}, policy, name=stage.name, own_name=stage.own_name)


def _merging(stage: Stage[Any, Any]) -> Stage[Any, Any]:
    """The stage that makes one of all results."""
    assert stage.merge is not None
    policy = replace(stage.policy, scope="", by=(), on_item_error="fail", resources=Resources(), uses=())
    return type(stage)(
        stage.merge.function, "stage", {}, policy, fallback=MISSING, name=f"{stage.name}.merge", checks=stage.checks
    )
