"""Items of maps: how arguments are spread over them, and what is left of one that failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.graph.options import class_path

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Each:
    """A keyword argument of ``.map`` that is taken item by item, like a positional one."""

    values: Any


@dataclass(frozen=True, slots=True)
class Fixed:
    """A positional argument of ``.map`` that every item gets whole, like a keyword one."""

    value: Any


def each(values: Iterable[Any]) -> Each:
    """Take ``values`` item by item: ``score.map(models, threshold=each(thresholds))``."""
    return Each(values)


def fixed(value: Any) -> Fixed:
    """Give ``value`` whole to every item: ``score.map(models, fixed(table))``."""
    return Fixed(value)


@dataclass(frozen=True, slots=True)
class ItemError:
    """Stands in the output of a map with ``on_item_error="keep"`` for an item that failed for good.

    Attributes:
        message: The exception's text.
        classes: Paths (``module:qualname``) of its class and bases, most derived first.
    """

    message: str
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Short name of the exception's class."""
        return self.classes[0].rpartition(":")[2] if self.classes else "Error"

    @classmethod
    def of(cls, error: BaseException) -> ItemError:
        """Describe an exception."""
        return cls(str(error), tuple(class_path(base) for base in type(error).__mro__ if base is not object))


class Survivors(list[T], Generic[T]):
    """Output of a map in process that dropped items: the rest in order, and which items of how many they were."""

    def __init__(self, items: Iterable[T], indexes: tuple[int, ...], width: int) -> None:
        super().__init__(items)
        self.indexes = indexes
        self.width = width
