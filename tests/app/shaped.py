"""Pipelines of any shape: sums, lists, maps over lists and maps over maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from orchestrator import pipeline, stage
from orchestrator.graph.pipeline import Pipeline
from tests.app.fork_flows import note


class Part(NamedTuple):
    """A node: ``sum`` and ``list`` take any earlier ones, ``map`` goes over one that is a list or a map."""

    kind: str
    needs: tuple[int, ...]


@stage
def summed(xs: list[Any], salt: int, ledger: str) -> int:
    note(ledger)
    return salt + sum(sum(x) if isinstance(x, list) else x for x in xs)


@stage
def listed(xs: list[Any], salt: int, ledger: str) -> list[int]:
    note(ledger)
    return [salt, len(xs), salt + 1]


@stage
def mapped(x: int, salt: int, ledger: str) -> int:
    note(ledger)
    return 3 * x + salt


def pipeline_of(shape: Sequence[Part], ledger: str) -> Pipeline[..., Any]:
    """A pipeline whose nodes are called ``n0``, ``n1``, … by their place."""

    def body() -> list[Any]:
        made: list[Any] = []
        for place, part in enumerate(shape):
            inputs, name = [made[need] for need in part.needs], f"n{place}"
            if part.kind == "map":
                made.append(mapped.options(name=name).map(inputs[0], salt=place, ledger=ledger))
            else:
                kind: Any = summed if part.kind == "sum" else listed
                made.append(kind.options(name=name)(inputs, place, ledger))
        return made

    return pipeline(name="shaped")(body)


def steps_after(shape: Sequence[Part], start: int, item: int | None) -> set[str]:
    """Steps that depend on a node, or on an item of it, themselves included: by walking every edge item by item."""
    width = [3 if part.kind == "map" else 1 for part in shape]
    reached = {(start, index) for index in range(width[start]) if item in (None, index)}
    grown = True
    while grown:
        grown = False
        for place, part in enumerate(shape):
            for index in range(width[place]):
                if (place, index) in reached:
                    continue
                for need in part.needs:
                    by_item = part.kind == "map" and shape[need].kind == "map"
                    sources = [index] if by_item else range(width[need])
                    if any((need, source) in reached for source in sources):
                        reached.add((place, index))
                        grown = True
    return {f"n{place}[{index}]" for place, index in reached}
