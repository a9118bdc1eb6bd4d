"""One call of a graph as a node of a pipeline file: what it uses, its arguments, and options unlike the stage's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from orchestrator.config.literal import written_value
from orchestrator.config.locations import import_named
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Node
from orchestrator.graph.policy import Policy, Resources, RetryPolicy
from orchestrator.graph.stage import Stage

Write = Callable[[Expr, str], Any]
"""An expression as a value of the file; the text says whose it is, for errors."""

_SAME = ("isolated", "effects", "profile", "on_item_error", "max_steps")
_PROMPTS = {"approval": ("orchestrator:approve", "text"), "signal": ("orchestrator:signal", "name")}

WAITS = frozenset(uses for uses, _ in _PROMPTS.values())
"""What waits; such steps have the names that the engine gives them."""


def written_call(node: Node, write: Write) -> dict[str, Any]:
    """The call of a stage, an approval or a signal.

    Raises:
        ConfigError: its code cannot be imported by name, or an argument or option cannot be written.
    """
    if node.kind in _PROMPTS:
        uses, parameter = _PROMPTS[node.kind]
        given = {parameter: node.prompt} | ({} if node.timeout_s is None else {"timeout": node.timeout_s})
        return {"uses": uses, "with": written_value(given)}
    assert node.stage is not None
    stage = _imported(node)
    call: dict[str, Any] = {"uses": node.stage.ref}
    arguments = _arguments(node, stage, write)
    if arguments:
        call["with"] = arguments
    if node.mapped:
        mapped = [name.lstrip("*") for name in node.mapped]
        call["map"] = mapped[0] if len(mapped) == 1 else mapped
    options = _options(node, stage)
    if options:
        call["options"] = options
    return call


def _imported(node: Node) -> Stage[..., Any]:
    """The stage that a file would get by the node's reference."""
    assert node.stage is not None
    ref = node.stage.ref
    if "#" in ref:
        raise ConfigError(f"the code of its stage ({ref.partition('#')[0]}) cannot be imported; put it into a module")
    try:
        found = import_named(ref)
    except OrchestratorError as error:
        raise ConfigError(error.message) from None
    if not isinstance(found, Stage):
        raise ConfigError(f"{ref} is a {type(found).__name__}; only what is declared there as a stage can be used")
    return found


def _arguments(node: Node, stage: Stage[..., Any], write: Write) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for name, expr in node.args.items():
        if name == "*" and isinstance(expr, ListExpr):
            written[stage.variadic[0]] = [write(item, f"*{stage.variadic[0]}") for item in expr.items]
        elif name == "**" and isinstance(expr, DictExpr):
            written |= {key: write(item, f"argument {key!r}") for key, item in expr.items.items()}
        elif name.startswith("*") and not name.startswith("**"):
            raise ConfigError(f"its map goes over several lists for *{stage.variadic[0]}")
        else:
            plain = name.lstrip("*")
            written[plain] = write(expr, f"argument {plain!r}")
    order = {name: place for place, name in enumerate(stage.signature.parameters)}
    return dict(sorted(written.items(), key=lambda pair: order.get(pair[0], len(order))))


def _options(node: Node, stage: Stage[..., Any]) -> dict[str, Any]:
    own = replace(stage.policy, reads_key=node.policy.reads_key)
    options = _policy_options(node.policy, own)
    fallback = None if node.fallback is None else node.fallback.value
    if node.policy.has_fallback and not (own.has_fallback and fallback == stage.fallback):
        options["fallback"] = _option("fallback", fallback)
    checks = node.checks.value if isinstance(node.checks, Const) else ()
    if checks != stage.checks:
        options["checks"] = [_check(check) for check in checks or ()]  # type: ignore[attr-defined]
    return options


def _policy_options(policy: Policy, own: Policy) -> dict[str, Any]:
    """The options that make one policy out of another."""
    options: dict[str, Any] = {}
    if policy.cache_s != own.cache_s:
        options["cache"] = False if policy.cache_s is None else True if policy.cache_s == math.inf else policy.cache_s
    if policy.retry != own.retry:
        options["retries"] = _retries(policy.retry)
    if policy.timeout_s != own.timeout_s:
        options["timeout"] = policy.timeout_s
    for name in _SAME:
        if getattr(policy, name) != getattr(own, name):
            options[name] = getattr(policy, name)
    if policy.uses != own.uses:
        options["uses"] = list(policy.uses)
    if policy.publish != own.publish:
        options["publish"] = policy.publish or None
    for field in fields(Resources):
        if (value := getattr(policy.resources, field.name)) != getattr(own.resources, field.name):
            options[field.name] = _option(field.name, value)
    return options


def _retries(retry: RetryPolicy) -> dict[str, Any]:
    backoff = f"{retry.base_s!r}s..{retry.cap_s!r}s"
    return {"attempts": retry.attempts, "backoff": backoff, "on": list(retry.on)}


def _check(check: Any) -> dict[str, Any]:
    """A rule that is a dataclass, by its class and fields."""
    written = _option(f"check {check.name!r}", check)
    if not (isinstance(written, dict) and "$new" in written):
        raise ConfigError(f"option check {check.name!r} is a {type(check).__name__}, which has no form in YAML")
    return {"uses": written["$new"], **({"with": written["with"]} if "with" in written else {})}


def _option(name: str, value: Any) -> Any:
    try:
        return written_value(value)
    except ConfigError as error:
        raise ConfigError(f"option {name}: {error.message}") from None
