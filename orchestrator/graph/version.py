"""Names of data sets and models that have versions, and a version as an input of a pipeline.

A name says what it is: ``data:flights``, ``model:delay``. After ``@`` stands which version: ``v3``, a tag, or nothing
for the newest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from orchestrator.errors import ConfigError, InvalidPipeline, InvalidStage
from orchestrator.graph.context import current
from orchestrator.graph.source import refusal

_NAME = re.compile(r"(data|model):[A-Za-z0-9](?:[\w./-]{0,98}[A-Za-z0-9_])?", re.ASCII)
_WHICH = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,62}[A-Za-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"v([1-9][0-9]{0,8})")
NEWEST = "latest"


class VersionAddress(NamedTuple):
    """``name@which``; ``which`` is a number (``v3``), a tag, or ``latest``."""

    name: str
    which: str = NEWEST

    @property
    def number(self) -> int | None:
        """3 of ``v3``; None if it is no number."""
        found = _NUMBER.fullmatch(self.which)
        return int(found[1]) if found else None

    def __str__(self) -> str:
        return f"{self.name}@{self.which}"


def check_version_name(name: object) -> str:
    """The name, if data sets and models may be called so; raises InvalidStage."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidStage(f"publish={name!r} names no data set or model; write 'data:flights' or 'model:delay'")
    return name


def names_version(text: str) -> bool:
    """True if a text begins like the address of a version: no run, file or step is called so."""
    return text.startswith(("data:", "model:"))


def parse_version(text: str) -> VersionAddress:
    """``data:flights``, ``data:flights@v3`` or ``data:flights@prod`` as an address.

    Raises:
        ConfigError: the text is no such address.
    """
    name, at, which = text.partition("@")
    if not _NAME.fullmatch(name) or (at and not _WHICH.fullmatch(which)):
        raise ConfigError(f"{text!r} names no version; write data:NAME or model:NAME, and @v3 or @TAG after it")
    return VersionAddress(name, which or NEWEST)


def check_tag(tag: str) -> str:
    """The tag, if versions may carry it; raises ConfigError."""
    if not _WHICH.fullmatch(tag) or _NUMBER.fullmatch(tag) or tag == NEWEST:
        raise ConfigError(
            f"{tag!r} cannot be a tag: letters, digits, '_', '.' and '-', and neither a number like 'v3' nor 'latest'"
        )
    return tag


class VersionInput:
    """A version that takes the place of its value in a call; which one it is, is settled when the run is made.

    Attributes:
        load: Gives the value of an address in this process; set by the package root.
    """

    load: ClassVar[Callable[[str], Any] | None] = None

    __slots__ = ("address",)

    def __init__(self, address: VersionAddress) -> None:
        self.address = address

    def value(self) -> Any:
        """The version's value, for calls outside of any run."""
        assert VersionInput.load is not None
        return VersionInput.load(str(self.address))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VersionInput) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"version({str(self.address)!r})"


def version(name: str) -> Any:
    """A published data set or model as an input: ``train(version("data:flights@prod"))``.

    In a pipeline it stands for the value wherever a stage takes one. When a run is made, the version that the name
    means at that moment is recorded, and the run, however often it is resumed or repeated, reads that one.

    Args:
        name: ``data:flights`` for the newest version, ``data:flights@v3``, or ``data:flights@TAG``.

    Raises:
        ConfigError: the text names no version.
        InvalidPipeline: called in the body of a step, where it is too late to choose a version.
    """
    address = parse_version(name)
    context = current()
    if context is not None and not context.run_id.startswith("local-"):
        raise refusal(
            InvalidPipeline,
            f"version({name!r}) in the body of a step: versions are settled when a run is made; call it in the "
            "pipeline and pass it to the step",
        )
    return VersionInput(address)


def resolve_versions(value: Any) -> Any:
    """The value with every version in it, also inside lists, tuples and dicts, loaded."""
    if isinstance(value, VersionInput):
        return value.value()
    if type(value) in (list, tuple) and any(isinstance(item, VersionInput) for item in value):
        return type(value)(resolve_versions(item) for item in value)
    if type(value) is dict and any(isinstance(item, VersionInput) for item in value.values()):
        return {key: resolve_versions(item) for key, item in value.items()}
    return value
