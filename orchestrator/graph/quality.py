"""What a stage promises about its output: ``@stage(checks=[…])``.

A check is data with one method. The worker runs it on the output before the output counts, and what it found becomes
a fact. The library of checks is ``stages.quality``; anything else with the same three names is a check too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from orchestrator.errors import InvalidStage

Severity = Literal["block", "warn"]
SEVERITIES: tuple[Severity, ...] = ("block", "warn")

CheckKind = Literal["quality", "drift"]
KINDS: tuple[CheckKind, ...] = ("quality", "drift")

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Attributes:
        passed: False if the output is not what the check wants.
        checked: Rows looked at; 0 for what concerns the whole output.
        failed: Rows that fail; a check may pass with some.
        message: What is wrong, for people.
        column: The column it is about; empty for none or several.
        rows: The first failing rows, of any type that a stage may return; kept as an artifact.
    """

    passed: bool
    checked: int = 0
    failed: int = 0
    message: str = ""
    column: str = ""
    rows: Any = None


@runtime_checkable
class Check(Protocol):
    """A rule about the output of a stage. It travels to workers with the stage, so it is plain data or pickles.

    ``block`` fails the attempt, ``warn`` records and lets the output pass. A check that compares with how data was
    before may have a ``kind`` of ``"drift"``: people are told apart from what is wrong with the data itself.
    """

    @property
    def name(self) -> str:
        """The rule in words; unique among the checks of a stage."""
        ...

    @property
    def severity(self) -> Severity:
        """What a failure means."""
        ...

    def check(self, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """Look at an output; ``arguments`` are the ones that the stage was called with, by name."""
        ...


@dataclass(frozen=True)
class Conforms:
    """A schema of another library as a check: a pandera ``DataFrameSchema`` or ``DataFrameModel``.

    Args:
        schema: Has ``validate(frame, lazy=True)``.
        text: The schema in words, from which its digest is made.
    """

    schema: Any = field(compare=False)
    severity: Severity = "block"
    text: str = ""

    def __post_init__(self) -> None:
        if not self.text:
            schema: Any = self.schema
            if isinstance(schema, type):
                schema = schema.to_schema()  # type: ignore[attr-defined]
            columns = getattr(schema, "columns", None) or {}
            rules = {name: repr(getattr(column, "checks", "")) for name, column in columns.items()}
            shown = f"{schema!r} {rules!r}"
            object.__setattr__(self, "text", _ADDRESS.sub("", shown))

    @property
    def name(self) -> str:
        """``schema`` with the schema's own name, if it has one."""
        own = getattr(self.schema, "__name__", None) or getattr(self.schema, "name", None)
        return f"schema {own}" if own else "schema"


def read_checks(stage: str, value: Any) -> tuple[Any, ...]:
    """The checks of a stage, foreign schemas wrapped.

    Raises:
        InvalidStage: something is no check, or two have one name.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidStage(f"stage {stage!r}: checks={value!r} is no list of checks")
    checks = tuple(_read(stage, entry) for entry in value)
    names = [check.name for check in checks]
    for check in checks:
        if check.severity not in SEVERITIES:
            raise InvalidStage(f"stage {stage!r}: check {check.name!r}: severity is 'block' or 'warn'")
        if kind_of(check) not in KINDS:
            raise InvalidStage(f"stage {stage!r}: check {check.name!r}: kind is 'quality' or 'drift', or left out")
        if names.count(check.name) > 1:
            raise InvalidStage(f"stage {stage!r}: two checks are called {check.name!r}; leave one out or name it")
    return checks


def _read(stage: str, entry: Any) -> Any:
    if isinstance(entry, Conforms) or (isinstance(entry, Check) and not isinstance(entry, type)):
        return entry
    if callable(getattr(entry, "validate", None)):
        return Conforms(entry)
    hint = "call it" if callable(entry) else "a check has name, severity and check(output, arguments)"
    raise InvalidStage(f"stage {stage!r}: checks= holds {entry!r}, which is no check; {hint}")


def kind_of(check: Any) -> CheckKind:
    """What kind of alert a failure of a check is."""
    kind: CheckKind = getattr(check, "kind", "quality")
    return kind


def described(check: Any) -> str:
    """A check in words, with its severity where it is not the usual one."""
    return f"{check.name} (warns)" if check.severity == "warn" else str(check.name)


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What one check found in an output.

    Attributes:
        checked, failed: Rows looked at and rows that fail; 0 and 0 for what concerns the whole output.
        column: The column it is about; empty for none or several.
        rows: The first failing rows: which cell of the fact's chunk.
        kind: Whether it is about the data itself, or how it has moved.
    """

    name: str
    severity: Literal["block", "warn"]
    passed: bool
    checked: int = 0
    failed: int = 0
    message: str = ""
    column: str = ""
    rows: int | None = None
    kind: Literal["quality", "drift"] = "quality"

    @property
    def state(self) -> Literal["passed", "warned", "failed"]:
        """What that means for the step."""
        return "passed" if self.passed else "warned" if self.severity == "warn" else "failed"
