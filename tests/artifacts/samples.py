"""Classes whose instances are stored in tests; a module of its own, so that other processes can import them."""

from __future__ import annotations

import contextlib
import enum
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, NoReturn, TypeVar

T = TypeVar("T")


@dataclass
class Plain:
    model: Any
    auc: float = 0.5


@dataclass(frozen=True)
class Frozen:
    model: Any
    auc: float = 0.5


@dataclass(frozen=True, slots=True)
class Slotted:
    model: Any
    auc: float = 0.5


@dataclass(slots=True)
class Base:
    left: Any


@dataclass(slots=True)
class Derived(Base):
    right: Any


@dataclass
class Careful:
    """Refuses to be made with a negative value, and counts how often it is made."""

    value: int
    twice: int = field(init=False)
    made: ClassVar[int] = 0

    def __post_init__(self) -> None:
        type(self).made += 1
        self.twice = 2 * self.value


@dataclass
class WithExtra:
    value: int

    @functools.cached_property
    def slow(self) -> int:
        return self.value + 1


@dataclass
class OwnState:
    value: int

    def __getstate__(self) -> dict[str, Any]:
        return {"value": self.value, "note": "from getstate"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass
class ListLike(list[int]):
    name: str = "x"


@dataclass
class Box(Generic[T]):
    item: T


class Pair(NamedTuple):
    left: int
    right: str


class Text(str):
    pass


class Color(enum.Enum):
    RED = 1


class Opaque:
    """No dataclass: goes through pickle."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is Opaque and other.value == self.value

    def __hash__(self) -> int:
        return 1


_armed = False


@contextlib.contextmanager
def armed() -> Iterator[None]:
    """While hostile objects are hostile; a failing test has to be able to print them afterwards."""
    global _armed
    _armed = True
    try:
        yield
    finally:
        _armed = False


class Hostile:
    """Every method a curious reader might call ends the process, if it is let."""

    def _end(self, *_: Any) -> NoReturn:
        raise SystemExit("hostile") if _armed else AttributeError("disarmed")

    __len__ = __bool__ = __repr__ = __str__ = __eq__ = __hash__ = __iter__ = __format__ = _end


class HostilePickle(Hostile):
    __reduce__ = __reduce_ex__ = __getstate__ = __getattr__ = Hostile._end
    __class__ = property(Hostile._end)


class Rude(BaseException):
    """Neither an Exception nor one of Python's own."""

    def __str__(self) -> str:
        raise SystemExit("even in its message") if _armed else AttributeError("disarmed")


class RudePickle:
    def __reduce__(self) -> NoReturn:
        raise Rude


class Bomb:
    """Unpickling it leaves a mark in the file system."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return _explode, (self.mark,)


def _explode(mark: str) -> str:
    with open(mark, "w") as file:
        file.write("ran")
    return mark
