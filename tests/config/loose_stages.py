"""Stages that take anything, for graphs made at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator import CheckResult, Retry, Secret, dynamic, stage
from orchestrator.graph.quality import Severity


@dataclass(frozen=True)
class Settings:
    name: str
    ratio: float = 0.5
    inner: tuple[Any, ...] = ()


@dataclass
class Halves:
    left: Any
    right: Any


@dataclass(frozen=True)
class AtMost:
    limit: float
    severity: Severity = "block"

    @property
    def name(self) -> str:
        return f"at most {self.limit}"

    def check(self, output: Any, arguments: dict[str, Any]) -> CheckResult:
        return CheckResult(output <= self.limit, message=f"{output}")


def at_most(*limits: float, severity: Severity = "block") -> AtMost:
    return AtMost(min(limits), severity)


@stage
def one(x: Any = None, y: Any = 0) -> Any:
    return x


@stage(cache="1d", retries=3, timeout="5m")
def halves(x: Any, key: str = "k") -> Halves:
    return Halves(x, key)


@stage(fallback=0, retries=Retry(attempts=2, backoff="1s..8s", on=(OSError,)), checks=[AtMost(9)])
def several(*xs: Any, last: Any = None, **more: Any) -> Any:
    return len(xs)


@stage
def items(n: int = 2) -> list[Any]:
    return list(range(n))


@stage
def asks(password: str = Secret("env:LOOSE_PASSWORD"), table: Any = None) -> str:
    return "asked"


@dynamic(max_steps=5)
def island(x: Any) -> Any:
    return one(x)
