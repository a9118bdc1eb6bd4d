"""Marks that an author puts on arguments: secrets by reference, and files keyed by their content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final

from orchestrator.errors import ConfigError, NotFound


class FileMark:
    """Marks a ``str`` parameter as the path of a file: the cache looks at its content (or etag), not at its name."""

    def __repr__(self) -> str:
        return "File"


FILE_MARK: Final = FileMark()

File = Annotated[str, FILE_MARK]
"""A path or URL whose content decides whether a cached output may be reused."""


class Secret(str):
    """A secret by reference, ``env:NAME`` or ``file:PATH``; the value exists only in the worker that runs the step.

    It is a ``str`` (of the reference), so that it fits a parameter annotated ``str``; the stage receives the value.

    Raises:
        ConfigError: the text is no reference. The message does not repeat it: it may be the secret itself.
    """

    __slots__ = ()

    def __new__(cls, reference: str) -> Secret:
        kind, _, name = reference.partition(":")
        if kind not in ("env", "file") or not name:
            raise ConfigError("a Secret says where its value is found, 'env:NAME' or 'file:PATH', not what it is")
        return super().__new__(cls, reference)

    @property
    def reference(self) -> str:
        """Where the value is found."""
        return str.__str__(self)

    def resolve(self) -> str:
        """The value, from this process's environment or file system; raises NotFound."""
        return resolve_reference(self.reference)

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __str__(self) -> str:
        return str.__str__(self)

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self.reference,)


def resolve_reference(reference: str) -> str:
    """Value of ``env:NAME`` or of the file in ``file:PATH``, its last line break removed.

    Raises:
        NotFound: the variable is not set or the file cannot be read; names the reference, never a value.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = os.environ.get(name)
        if value is None:
            raise NotFound(f"secret {reference!r}: the environment variable {name} is not set where the step runs")
        return value
    if kind == "file":
        try:
            return Path(name).expanduser().read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise NotFound(f"secret {reference!r} cannot be read where the step runs: {why}") from None
    raise NotFound(f"no secrets are kept under {kind!r}; write 'env:NAME' or 'file:PATH'")


def resolve_secrets(value: Any) -> Any:
    """The value with every Secret in it, also inside lists, tuples and dicts, replaced by what it stands for."""
    if isinstance(value, Secret):
        return value.resolve()
    if not contains_secret(value):
        return value
    if type(value) is dict:
        return {key: resolve_secrets(item) for key, item in value.items()}
    return type(value)(resolve_secrets(item) for item in value)


def contains_secret(value: object) -> bool:
    """True if a Secret is in the value itself or in its lists, tuples and dicts."""
    if isinstance(value, Secret):
        return True
    if type(value) in (list, tuple):
        return any(contains_secret(item) for item in value)  # type: ignore[attr-defined]
    if type(value) is dict:
        return any(contains_secret(item) for item in value.values())
    return False
