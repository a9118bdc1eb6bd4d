"""What changed code means for the finished steps of a run: which stay valid, which do not, and why.

Pure. A node of the new graph is valid if some node of the recorded one has the same code, environment, arguments and
place in branches, and if the nodes it refers to are valid in turn. It need not have the same id: a call that was
moved, or that lost its ordinal because another was removed, keeps what it has.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from orchestrator.engine.forks import Reach
from orchestrator.engine.state import DONE, NodeState, RunFold
from orchestrator.graph.node import Const, DictExpr, Expr, Graph, ListExpr, Node, Ref, SecretRef, refs
from orchestrator.ports.values import decode_cell, describe, digest_of

Action = Literal["keep", "drop", "run", "new", "remove"]
Part = Literal["", "code", "inputs", "parameters", "environment"]


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one node.

    Attributes:
        node: Id in the new graph; in the recorded one if the node is not in the new one.
        action: ``keep`` what is finished and go on with the rest, ``drop`` what is finished and run it again, ``run``
            for the first time, run a ``new`` node, or ``remove`` one.
        finished: Steps that have their outcome: those kept, dropped or removed; ``steps`` is how many the recorded
            node has, None if it has none or that is not known.
        part: What decided that the node is not as it was.
        was: Id in the recorded graph; empty for a new node.
        acted: Steps with effects that began in the recorded run and would begin anew: they may act a second time.
    """

    node: str
    action: Action
    finished: int
    part: Part
    reason: str
    was: str = ""
    acted: tuple[str, ...] = ()
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A recorded run and a new graph, node by node in the order of the new graph; removed nodes last."""

    run: str
    changes: tuple[Change, ...]

    @property
    def kept(self) -> dict[str, str]:
        """Nodes of the new graph that are valid, with their ids in the recorded one."""
        return {change.node: change.was for change in self.changes if change.action == "keep"}

    @property
    def dropped(self) -> tuple[str, ...]:
        """Recorded nodes whose finished steps do not count any more."""
        gone = ("drop", "remove")
        return tuple(change.was for change in self.changes if change.action in gone and change.finished)

    @property
    def acted(self) -> tuple[str, ...]:
        """Steps with effects that would act a second time."""
        return tuple(step for change in self.changes for step in change.acted)


def has_effects(node: Node) -> bool:
    """True if steps of the node touch the outside world: they say so, or read their idempotency key."""
    return node.policy.effects or node.policy.reads_key


def compare(
    old: RunFold, new: Graph, moved: Mapping[str, str], began: Collection[str], fork: Reach | None = None
) -> Comparison:
    """Compare a run with a sealed graph.

    Args:
        moved: Why a node is not valid any more although nothing of it changed: a file that it reads has.
        began: Nodes of the run of which some step was started.
        fork: What begins anew whether it is valid or not, and what comes before and is history.
    """
    return Comparison(old.run, tuple(_Matching(old, new, moved, began, fork or Reach()).changes()))


def acted_below(fold: RunFold, node: str, began: Collection[str]) -> Iterator[str]:
    """Steps with effects that began: of a recorded node, and of the calls below it."""
    states: Iterable[NodeState] = [fold.nodes[node]]
    while states:
        yield from (state.node.id for state in states if has_effects(state.node) and state.node.id in began)
        above = {state.node.id for state in states}
        states = [state for state in fold.nodes.values() if state.parent is not None and state.parent[0] in above]


class _Matching:
    """Finds the recorded node of each new one, in topological order."""

    def __init__(self, old: RunFold, new: Graph, moved: Mapping[str, str], began: Collection[str], fork: Reach) -> None:
        self._old = old
        self._new = new
        self._moved = moved
        self._began = began
        self._fork = fork
        self._itself = {node.id: node.id for node in old.graph.nodes}
        self._before = {node.id: node for node in old.graph.nodes}
        self._valid: dict[str, str] = {}

    def changes(self) -> Iterator[Change]:
        """What becomes of each node."""
        stale = self._match_all()
        taken = set(self._valid.values())
        for node in self._new.nodes:
            before = self._before.get(node.id)
            if node.id in self._valid:
                yield self._kept(node, self._valid[node.id])
            elif before is None or before.id in taken:
                yield Change(node.id, "new", 0, "", "not in the recorded graph")
            else:
                taken.add(before.id)
                said = _ANSWERED if node.id in stale else self._why(node, before)
                finished = self._finished(node.id)
                acted = tuple(acted_below(self._old, before.id, self._began))
                action: Action = "drop" if finished else "run"
                yield Change(node.id, action, finished, *said, node.id, acted, self._steps(node.id))
        for old in self._old.graph.nodes:
            if old.id not in taken:
                finished, steps = self._finished(old.id), self._steps(old.id)
                yield Change(old.id, "remove", finished, "code", "not in the pipeline any more", old.id, (), steps)

    def _match_all(self) -> set[str]:
        """Fill ``_valid``; the answers of people that do not hold, since something finished before them does not."""
        free: dict[str, list[str]] = {}
        for old in self._old.graph.nodes:
            free.setdefault(_key(old, self._itself) or "", []).append(old.id)
        stale: set[str] = set()
        lost = False
        for node in self._new.nodes:
            match = None if self._fork.is_whole(node.id) else self._match(node, free)
            asked = node.kind in ("approval", "signal") and node.id not in self._fork.before
            if match is not None and lost and asked and self._finished(match):
                stale.add(node.id)
            elif match is not None:
                free[_key(self._before[match], self._itself) or ""].remove(match)
                self._valid[node.id] = match
            elif node.id in self._before and self._finished(node.id):
                lost = True
        return stale

    def _match(self, node: Node, free: Mapping[str, list[str]]) -> str | None:
        """The recorded node whose outcomes hold for this one."""
        same = free.get(_key(node, self._valid) or "-", [])
        # The ids of its calls contain that of a @dynamic step, idempotency keys that of a step with effects.
        fixed = node.kind == "dynamic" or has_effects(node)
        match = node.id if node.id in same else same[0] if same and not fixed else None
        if match is not None and (node.id not in self._moved or node.id in self._fork.before):
            return match
        return node.id if self._is_history(node, free) else None

    def _is_history(self, node: Node, free: Mapping[str, list[str]]) -> bool:
        """True if a node comes before a fork, has finished steps, and was called with the same."""
        before = self._before.get(node.id)
        if node.id not in self._fork.before or before is None or not self._finished(node.id):
            return False
        free_still = node.id in free.get(_key(before, self._itself) or "", ())
        try:
            return free_still and _wiring(node, self._valid) == _wiring(before, self._itself)
        except KeyError:
            return False

    def _kept(self, node: Node, was: str) -> Change:
        anew = self._fork.anew.get(node.id) or frozenset()
        finished = self._finished(was) - sum(self._old.nodes[was].status[item : item + 1] == _DONE for item in anew)
        said = self._difference(node, self._before[was]) if was == node.id else None
        if said is not None:
            return Change(node.id, "keep", finished, said[0], f"history, although {said[1]}", was, (), self._steps(was))
        reason = "same code and inputs" if was == node.id else f"same code and inputs, was {was}"
        if anew:
            reason += f"; begins anew: {', '.join(f'[{item}]' for item in sorted(anew)[:5])}"
        acted = tuple(acted_below(self._old, was, self._began)) if anew else ()
        return Change(node.id, "keep", finished, "", reason, was, acted, self._steps(was))

    def _steps(self, node: str) -> int | None:
        state = self._old.nodes[node]
        return state.length if state.closed and not state.node.policy.streaming else None

    def _finished(self, node: str) -> int:
        state = self._old.nodes[node]
        return state.batches if state.node.policy.streaming else state.status.count(DONE)

    def _why(self, node: Node, before: Node) -> tuple[Part, str]:
        """The first part of a node that is not as it was, or what a fork has to do with it."""
        said = self._difference(node, before)
        if said is None and self._fork.is_whole(node.id):
            return "", "the fork begins here" if node.id == self._fork.point else f"comes after {self._fork.point}"
        return said or ("parameters", "the way it is called changed")

    def _difference(self, node: Node, before: Node) -> tuple[Part, str] | None:
        if node.id in self._moved:
            return "inputs", self._moved[node.id]
        if node.kind != before.kind:
            return "code", f"is a {node.kind} now, was a {before.kind}"
        if _code(node) != _code(before):
            return "code", "the code of its stage changed"
        if _environment(node) != _environment(before):
            return "environment", "runtime_env changed"
        for name in dict.fromkeys([*node.args, *before.args]):
            said = self._why_argument(name, node.args.get(name), before.args.get(name))
            if said is not None:
                return said
        if node.guards != before.guards or any(guard.branch not in self._valid for guard in node.guards):
            return "inputs", "the branch that decides whether it runs changed"
        return None

    def _why_argument(self, name: str, now: Expr | None, before: Expr | None) -> tuple[Part, str] | None:
        if now is None or before is None:
            return "parameters", f"argument {name!r} is {'no longer given' if now is None else 'new'}"
        for ref in refs(now):
            if ref.node not in self._valid:
                return "inputs", f"its input {ref.node} is made anew"
        if _expression(now, self._valid) == _expression(before, self._itself):
            return None
        if isinstance(now, Const) and isinstance(before, Const):
            return "parameters", f"argument {name!r} changed from {_preview(before)} to {_preview(now)}"
        return "inputs", f"argument {name!r} comes from elsewhere"


_DONE: Final = bytes([DONE])
_ANSWERED: Final[tuple[Part, str]] = ("inputs", "what was answered for has changed")


def _key(node: Node, ids: Mapping[str, str]) -> str | None:
    """Everything that decides the outputs of a node, its references under their recorded ids; None without these."""
    try:
        fallback = None if node.fallback is None else _expression(node.fallback, ids)
        return json.dumps([_code(node), _environment(node), fallback, _wiring(node, ids)], sort_keys=True)
    except KeyError:
        return None


def _wiring(node: Node, ids: Mapping[str, str]) -> list[Any]:
    """What a node is called with, its references under their recorded ids; KeyError without these."""
    return [
        node.kind, node.mapped, node.prompt, node.policy.streaming,
        {name: _expression(expr, ids) for name, expr in node.args.items()},
        [(ids[guard.branch], guard.expected) for guard in node.guards],
    ]  # fmt: skip


def _code(node: Node) -> str:
    return node.stage.fingerprint if node.stage else ""


def _environment(node: Node) -> str:
    return json.dumps(node.policy.resources.runtime_env, sort_keys=True)


def _expression(expr: Expr, ids: Mapping[str, str]) -> Any:
    """An argument as JSON values that are equal for equal arguments; KeyError if it refers to what is not valid."""
    match expr:
        case Const(cell=cell):
            return ["const", digest_of(decode_cell(cell or b"\xc0"))]
        case SecretRef(reference=reference):
            return ["secret", reference]
        case Ref(node=node, path=path):
            return ["ref", ids.get(node) or _unknown(node), list(path)]
        case ListExpr(items=items, is_tuple=is_tuple):
            return ["tuple" if is_tuple else "list", [_expression(item, ids) for item in items]]
        case DictExpr(items=named):
            return ["dict", {key: _expression(item, ids) for key, item in named.items()}]


def _unknown(node: str) -> str:
    raise KeyError(node)


def _preview(expr: Const) -> str:
    return describe(decode_cell(expr.cell or b"\xc0")).preview
