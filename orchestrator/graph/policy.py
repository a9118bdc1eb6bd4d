"""How a stage wants its steps run: retries, time-out, cache, fallback, failures of single items.

Plain data in seconds and bytes, as the engine reads it; the decorators in
``stage.py`` accept what people write (``"10m"``, ``"1s..60s"``) and build these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

OnItemError = Literal["fail", "drop", "keep"]
Scope = Literal["", "rows", "groups", "table"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Full-jitter exponential back-off: the delay before attempt n+2 is uniform(0, min(cap, base·2ⁿ)).

    Attributes:
        attempts: Total number of attempts, 1 meaning no retry.
        base_s: Back-off of the first retry, in seconds.
        cap_s: Upper bound of the back-off, in seconds.
        on: Paths (``module:qualname``) of the exception classes that are retried, subclasses included.
    """

    attempts: int = 1
    base_s: float = 1.0
    cap_s: float = 60.0
    on: tuple[str, ...] = ("builtins:Exception",)


@dataclass(frozen=True, slots=True)
class Resources:
    """What one step needs while it runs; names are Ray's own, ``memory`` in bytes."""

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int = 0
    resources: dict[str, float] = field(default_factory=dict)
    accelerator_type: str | None = None
    label_selector: dict[str, str] = field(default_factory=dict)
    runtime_env: dict[str, Any] | None = None

    @property
    def light(self) -> bool:
        """True if the step may share a pooled worker with others."""
        return self is _DEFAULT or self == _DEFAULT

    @property
    def nothing(self) -> bool:
        """True if no amount of anything is held while the step runs."""
        return not (self.num_cpus or self.num_gpus or self.memory or any(self.resources.values()))


_DEFAULT = Resources()


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything about a stage but its code.

    Attributes:
        timeout_s: Per attempt, from the start of the body; None for no limit.
        cache_s: How long an output may be reused, in seconds (``inf`` for ever); None turns the cache off.
        has_fallback: Whether a failure is replaced by a fallback value (the node's ``fallback`` literal).
        uses: Parts of the engine the body drives (``data``, ``tune``, ``train``, ``serving``): such steps are heavy.
        max_steps: Most calls a ``@dynamic`` body may make; None for no limit.
        publish: Name under which the output is a version (``data:flights``); empty for none.
        profile: Whether tables that come out are described (see ``fact.TableProfiled``).
        scope: What one call of a table stage has to see: any ``rows``, one of the ``groups`` or the whole ``table``;
            empty if it is called with what it is given.
        by: Columns whose values make the groups.
        reads_key: The code seems to read ``step().key``; found in the code, not declared.
    """

    retry: RetryPolicy = RetryPolicy()
    timeout_s: float | None = None
    cache_s: float | None = None
    has_fallback: bool = False
    on_item_error: OnItemError = "fail"
    resources: Resources = _DEFAULT
    streaming: bool = False
    effects: bool = False
    isolated: bool = False
    uses: tuple[str, ...] = ()
    max_steps: int | None = None
    profile: bool = True
    reads_key: bool = False
    publish: str = ""
    scope: Scope = ""
    by: tuple[str, ...] = ()

    @property
    def light(self) -> bool:
        """True if steps may travel in bundles to pooled workers."""
        return self.resources.light and not self.isolated and not self.uses

    @property
    def divides(self) -> bool:
        """True if a call may be made on a part of the table."""
        return self.scope in ("rows", "groups")

    @property
    def barrier(self) -> bool:
        """True if a step may start only after all its inputs are committed."""
        return self.effects or self.reads_key or not self.light


DEFAULT_POLICY = Policy()
