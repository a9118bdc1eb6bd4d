"""The little language of ``rollback_if``: ``error_rate > 0.01 or p95_ms > 80 and slow_rate > 0.2``.

Names are compared with numbers and joined by ``and`` and ``or``. What cannot be understood is refused before anything
moves; a name that almost is a known one is taken for a slip of the pen, not for a business metric.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

from orchestrator.errors import ConfigError

Operator = Literal[">", "<"]

RATES = ("error_rate", "slow_rate", "broken_rate", "different_rate")
QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
KNOWN = (*RATES, *QUANTILES)

_OPERATORS: dict[type[ast.cmpop], Operator] = {ast.Gt: ">", ast.GtE: ">", ast.Lt: "<", ast.LtE: "<"}
_TURNED: dict[Operator, Operator] = {">": "<", "<": ">"}
_MOST_ALTERNATIVES = 16


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison: what is measured of the candidate, and the limit that it may not cross."""

    name: str
    operator: Operator
    limit: float

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.limit:g}"

    @property
    def business(self) -> bool:
        """True for a metric that the application reports, False for what the router counts by itself."""
        return self.name not in KNOWN


Alternatives = tuple[tuple[Condition, ...], ...]
"""Any of these has to hold, and of it all conditions."""


@lru_cache(maxsize=64)
def parse(text: str) -> Alternatives:
    """Read an expression; nothing for an empty one.

    Raises:
        ConfigError: it is no such expression, names something that looks like a known name, or has a limit that cannot
            be meant; the message quotes the part.
    """
    if not text.strip():
        return ()
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        raise ConfigError(
            f"rollback_if={text!r} is no expression; write it like 'error_rate > 0.01 or p95_ms > 80'"
        ) from None
    found = _alternatives(tree.body, text)
    return tuple(dict.fromkeys(tuple(dict.fromkeys(conditions)) for conditions in found))


def text_of(alternatives: Iterable[Iterable[Condition]]) -> str:
    """The expression again."""
    return " or ".join(" and ".join(map(str, conditions)) for conditions in alternatives)


def _alternatives(node: ast.expr, text: str) -> Alternatives:
    if isinstance(node, ast.BoolOp):
        parts = [_alternatives(value, text) for value in node.values]
        if isinstance(node.op, ast.Or):
            found = tuple(one for part in parts for one in part)
        else:
            found = tuple(tuple(one for group in groups for one in group) for groups in product(*parts))
        if len(found) > _MOST_ALTERNATIVES:
            raise ConfigError(
                f"rollback_if={text!r} comes to {len(found)} alternatives; at most {_MOST_ALTERNATIVES} work"
            )
        return found
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPERATORS:
        return ((_condition(node, text),),)
    part = ast.get_source_segment(text.strip(), node) or text
    raise ConfigError(
        f"rollback_if={text!r}: {part!r} is no comparison of a name with a number; compare with > or <, "
        "and join comparisons by 'and' and 'or'"
    )


def _condition(node: ast.Compare, text: str) -> Condition:
    operator = _OPERATORS[type(node.ops[0])]
    left, right = node.left, node.comparators[0]
    if isinstance(right, ast.Name):
        left, right, operator = right, left, _TURNED[operator]
    limit = _number(right)
    if not isinstance(left, ast.Name) or limit is None:
        part = ast.get_source_segment(text.strip(), node) or text
        raise ConfigError(f"rollback_if={text!r}: {part!r} has to compare one name with one number")
    condition = Condition(left.id, operator, limit)
    _check(condition, text)
    return condition


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value) if math.isfinite(node.value) else None
    return None


def _check(condition: Condition, text: str) -> None:
    name, limit = condition.name, condition.limit
    if condition.business:
        quantile = re.fullmatch(r"p\d+(_ms)?", name)
        close = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5 if quantile else 0.7)
        if close or quantile or name.endswith(("_rate", "_ms")):
            hint = f"did you mean {close[0]!r}?" if close else f"the router counts {', '.join(KNOWN)}"
            raise ConfigError(f"rollback_if={text!r}: there is no {name!r}; {hint}")
        return
    if condition.operator == "<":
        raise ConfigError(f"rollback_if={text!r}: {condition} would roll back a candidate for being good; write '>'")
    if name in RATES and not 0 < limit < 1:
        raise ConfigError(f"rollback_if={text!r}: {name} is a share of requests; its limit lies between 0 and 1")
    if name in QUANTILES and limit <= 0:
        raise ConfigError(f"rollback_if={text!r}: {name} is in milliseconds; its limit is more than 0")
