"""From the options people write on ``@stage`` to the plain ``Policy`` that the engine reads.

Every value is checked here, where the author's file and line are known: contradictions are InvalidStage,
resources that no machine can give are ImpossibleResources.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypedDict

from orchestrator.errors import ImpossibleResources, InvalidDuration, InvalidSize, InvalidStage
from orchestrator.graph.context import PORTS
from orchestrator.graph.policy import OnItemError, Policy, Resources, RetryPolicy
from orchestrator.graph.secret import contains_secret
from orchestrator.graph.version import check_version_name
from orchestrator.types import Duration, Size, seconds, size_bytes

_NAME = re.compile(r"[^/#\[\]\s][^/#\[\]\n\r]*")
_OWN_RESOURCES = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


class Missing:
    """Type of ``MISSING``: no fallback was given (None is a fallback)."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed attempt is repeated.

    Args:
        attempts: Total number of attempts, the first included.
        backoff: ``"1s..60s"``: first and largest upper bound of the random delay; ``"5s"`` keeps it constant.
        on: Exceptions that are retried, subclasses included.
    """

    attempts: int = 4
    backoff: Duration = "1s..60s"
    on: tuple[type[BaseException], ...] = (Exception,)

    def policy(self) -> RetryPolicy:
        """Plain form; raises InvalidStage or InvalidDuration."""
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise InvalidStage(f"Retry(attempts={self.attempts!r}): attempts is a whole number, 1 or more")
        first, _, last = self.backoff.partition("..") if isinstance(self.backoff, str) else (self.backoff, "", "")
        base_s = seconds(first)
        cap_s = seconds(last) if last else base_s
        if cap_s < base_s:
            raise InvalidStage(f"Retry(backoff={self.backoff!r}): the largest delay is smaller than the first")
        classes = (self.on,) if isinstance(self.on, type) else tuple(self.on)
        for entry in classes:
            if not (isinstance(entry, type) and issubclass(entry, BaseException)):
                raise InvalidStage(f"Retry(on=…): {entry!r} is not an exception class")
        return RetryPolicy(self.attempts, base_s, cap_s, tuple(class_path(entry) for entry in classes))


class StageOptions(TypedDict, total=False):
    """What ``@stage(...)`` and ``.options(...)`` accept; names of resources are Ray's own.

    Attributes:
        name: Name of the steps in place of the function's.
        cache: How long an output may be reused (``"30d"``); True for ever, None or False never.
        retries: Repetitions after the first attempt, or a ``Retry``.
        timeout: Of each attempt, from the start of the body.
        fallback: Value that takes the place of a failure; the run is then degraded.
        num_cpus, num_gpus, memory, resources, accelerator_type, label_selector, runtime_env: As in Ray.
        streaming: The stage yields batches; dependants start on the first.
        effects: The stage touches the outside world: never cached, started only after its inputs are committed.
        isolated: Each step has a process of its own.
        uses: Parts of the engine that the body drives through ``step()``.
        publish: The output is a new version of this data set or model: ``data:flights``, ``model:delay``.
        on_item_error: What a failed item means for its map: ``fail`` it, ``drop`` the item, or ``keep`` an ItemError.
        checks: What is checked about the output before it counts: objects like ``quality.Check``, or pandera schemas.
        profile: Whether a table that comes out is described; True unless switched off.
        scope: What a call has to see of the table that is the first parameter: any ``rows``, all rows of one of the
            ``groups``, or the whole ``table``.
        by: Column or columns whose values make the groups.
        max_steps: Most calls of a ``@dynamic`` body.
    """

    name: str
    cache: Duration | bool | None
    retries: int | Retry
    timeout: Duration | None
    fallback: Any
    num_cpus: float
    num_gpus: float
    memory: Size
    resources: Mapping[str, float]
    accelerator_type: str | None
    label_selector: Mapping[str, str]
    runtime_env: Mapping[str, Any] | None
    streaming: bool
    effects: bool
    isolated: bool
    uses: str | Sequence[Literal["data", "tune", "train", "serving"]]
    on_item_error: OnItemError
    publish: str | None
    checks: Sequence[Any]
    profile: bool
    scope: Literal["rows", "groups", "table"]
    by: str | Sequence[str]
    max_steps: int | None


STAGE_OPTIONS: Final = frozenset({*StageOptions.__annotations__, "merge"}) - {"max_steps"}
DYNAMIC_OPTIONS: Final = frozenset({"name", "retries", "timeout", "fallback", "on_item_error", "max_steps"})
_RESOURCE_OPTIONS: Final = frozenset(entry.name for entry in fields(Resources))


def check_options(kind: str, name: str, options: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Refuse names that are no option; raises InvalidStage."""
    for option in options:
        if option not in allowed:
            close = difflib.get_close_matches(option, allowed, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(allowed))}"
            raise InvalidStage(f"@{kind} {name!r} has no option {option!r}; {hint}")


def read_policy(name: str, base: Policy, options: Mapping[str, Any]) -> Policy:
    """``base`` with the options laid over it.

    Raises:
        InvalidStage: an option has no sense, or contradicts another.
        ImpossibleResources: no machine can give what is asked for.
    """
    try:
        policy = replace(base, **_policy_fields(base, options))
    except (InvalidDuration, InvalidSize) as error:
        raise InvalidStage(f"stage {name!r}: {error.message}") from None
    except (TypeError, AttributeError) as error:
        raise InvalidStage(f"stage {name!r}: an option has a value of the wrong type: {error}") from None
    except (InvalidStage, ImpossibleResources) as error:
        raise type(error)(f"stage {name!r}: {error.message}") from None
    if policy.cache_s is not None and policy.effects:
        raise InvalidStage(f"stage {name!r}: an effects=True stage is never cached; drop cache= or effects=")
    _check_scope(name, policy)
    if policy.publish and policy.streaming:
        raise InvalidStage(f"stage {name!r} yields batches, which are no one version; publish what gathers them")
    return policy


def _check_scope(name: str, policy: Policy) -> None:
    if policy.scope and policy.streaming:
        raise InvalidStage(
            f"stage {name!r}: scope= is for a function of a table, and this one yields batches; give what it yields "
            "to a stage with scope="
        )
    if policy.scope == "groups" and not policy.by:
        raise InvalidStage(f"stage {name!r}: scope='groups' needs by=, the columns whose values make the groups")
    if policy.by and policy.scope != "groups":
        raise InvalidStage(f"stage {name!r}: by= goes with scope='groups'")


def _policy_fields(base: Policy, options: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for option, value in options.items():
        match option:
            case "cache":
                changed["cache_s"] = _cache(value)
            case "retries":
                changed["retry"] = _retry(value)
            case "timeout":
                changed["timeout_s"] = None if value is None else _positive(seconds(value))
            case "fallback":
                changed["has_fallback"] = value is not MISSING
            case "streaming" | "effects" | "isolated" | "profile":
                if not isinstance(value, bool):
                    raise InvalidStage(f"{option}={value!r} is neither True nor False")
                changed[option] = value
            case "uses":
                changed["uses"] = _uses(value)
            case "on_item_error":
                if value not in ("fail", "drop", "keep"):
                    raise InvalidStage(f"on_item_error={value!r}; write 'fail', 'drop' or 'keep'")
                changed["on_item_error"] = value
            case "scope":
                if value not in ("rows", "groups", "table"):
                    raise InvalidStage(f"scope={value!r}; write 'rows', 'groups' or 'table'")
                changed["scope"] = value
            case "by":
                changed["by"] = _columns(value)
            case "publish":
                changed["publish"] = "" if value is None else check_version_name(value)
            case "max_steps":
                if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                    raise InvalidStage(f"max_steps={value!r} is not a whole number, 1 or more")
                changed["max_steps"] = value
    asked = {option: value for option, value in options.items() if option in _RESOURCE_OPTIONS}
    if asked:
        changed["resources"] = replace(base.resources, **_resources(asked))
    return changed


def _cache(value: Any) -> float | None:
    if value is None or value is False:
        return None
    return math.inf if value is True or value == math.inf else seconds(value)


def _retry(value: Any) -> RetryPolicy:
    if isinstance(value, Retry):
        return value.policy()
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidStage(f"retries={value!r} is neither a whole number, 0 or more, nor a Retry(…)")
    return RetryPolicy(attempts=value + 1)


def _positive(value_s: float) -> float:
    if value_s <= 0:
        raise InvalidStage("timeout=0 leaves no time to run; leave it out for no limit")
    return value_s


def _uses(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    for name in names:
        if name not in PORTS:
            raise InvalidStage(f"uses={value!r}: {name!r} is none of {', '.join(map(repr, PORTS))}")
    return tuple(name for name in PORTS if name in names)


def _columns(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    if not names or len(set(names)) < len(names) or not all(isinstance(name, str) and name for name in names):
        raise InvalidStage(f"by={value!r} is neither a column nor a list of different columns")
    return names


def _resources(asked: Mapping[str, Any]) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for option, value in asked.items():
        match option:
            case "num_cpus":
                checked[option] = _amount(option, value)
            case "num_gpus":
                checked[option] = _amount(option, value)
                if value > 1 and value != int(value):
                    raise ImpossibleResources(f"num_gpus={value!r}: more than one GPU is a whole number of GPUs")
            case "memory":
                if not isinstance(value, str) and value < 0:
                    raise ImpossibleResources(f"memory={value!r}: no machine can give that")
                checked[option] = size_bytes(value)
            case "resources":
                checked[option] = {str(key): _amount(f"resources[{key!r}]", item) for key, item in value.items()}
                for key in _OWN_RESOURCES.keys() & value.keys():
                    raise InvalidStage(f"resources={{{key!r}: …}}: say {_OWN_RESOURCES[key]}= instead")
            case "label_selector":
                checked[option] = {str(key): str(item) for key, item in value.items()}
            case "accelerator_type":
                checked[option] = None if value is None else str(value)
            case "runtime_env":
                checked[option] = None if value is None else dict(value)
                if contains_secret(checked[option]):
                    raise InvalidStage("runtime_env holds a Secret; give it to the stage as an argument instead")
    return checked


def _amount(option: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidStage(f"{option}={value!r} is not a number")
    if not 0 <= value < math.inf:
        raise ImpossibleResources(f"{option}={value!r}: no machine can give that; it must be finite and 0 or more")
    if abs(value * 10_000 - round(value * 10_000)) > 1e-6 * max(1, value):
        raise ImpossibleResources(f"{option}={value!r}: Ray counts in steps of 0.0001")
    return float(value)


def check_name(name: str) -> str:
    """The name, if it can be part of an address; raises InvalidStage."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name != name.strip():
        raise InvalidStage(f"{name!r} cannot name a step: it is part of addresses like 'scope/name#2[7]'")
    return name


def class_path(cls: type) -> str:
    """``module:qualname`` of a class."""
    return f"{cls.__module__}:{cls.__qualname__}"
