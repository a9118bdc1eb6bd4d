"""Which runs that have ended are kept, by pipeline: ``ORC_HOME/retention.yaml``, and the decision.

Without a policy every run is kept. With one, a run stays if any of its rules keeps it. Whatever the policy, runs that
have not ended stay, as do those whose outputs the cache may still hand out and the newest of each pipeline that
succeeded; of the versions of a name, the newest and those with a tag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from orchestrator.config.document import Document, KeyPath, read_document
from orchestrator.config.schema import validate
from orchestrator.errors import ConfigError, InvalidDuration, NotFound
from orchestrator.graph.fact import FINISHED
from orchestrator.ports.journal import RunRow
from orchestrator.ports.registry import PublishedVersion
from orchestrator.types import seconds

FILE: Final = "retention.yaml"

Reason: TypeAlias = Literal[
    "not ended", "no policy", "newest success", "among the last", "recent", "tagged", "in cache"
]

_POLICY: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "keep_last": {"type": "integer", "minimum": 1},
        "keep_for": {"anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}]},
        "keep_tags": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
    },
    "additionalProperties": False,
}
_OF_VERSIONS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {name: _POLICY["properties"][name] for name in ("keep_last", "keep_for")},
    "additionalProperties": False,
}
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "default": _POLICY,
        "pipelines": {"type": "object", "additionalProperties": {"anyOf": [_POLICY, {"type": "null"}]}},
        "versions": {"type": "object", "additionalProperties": {"anyOf": [_OF_VERSIONS, {"type": "null"}]}},
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept of the runs of a pipeline.

    Attributes:
        keep_last: That many of the newest runs that have ended.
        keep_for_s: Runs that ended at most so many seconds ago.
        keep_tags: Runs that carry one of these tags; a value of None is any value.

    Raises:
        ConfigError: neither ``keep_last`` nor ``keep_for_s`` is given.
    """

    keep_last: int | None = None
    keep_for_s: float | None = None
    keep_tags: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.keep_last is None and self.keep_for_s is None:
            raise ConfigError("retention says neither how many are kept nor for how long; give one of the two")


@dataclass(frozen=True, slots=True)
class Retention:
    """Policies by pipeline, and the one of all others; None keeps everything.

    Attributes:
        versions: Policies of versions by the name of the data set or model; ``default`` is that of all others.
    """

    default: Policy | None = None
    pipelines: Mapping[str, Policy | None] = field(default_factory=dict)
    versions: Mapping[str, Policy | None] = field(default_factory=dict)

    def of(self, pipeline: str) -> Policy | None:
        """The policy of a pipeline."""
        return self.pipelines.get(pipeline, self.default)


class Decided(NamedTuple):
    """Runs that may go, newest first, and how many stay for which reason."""

    going: list[RunRow]
    kept: Counter[Reason]


def decide(rows: Iterable[RunRow], retention: Retention, in_cache: Iterable[str], now: float) -> Decided:
    """Which runs go.

    Args:
        rows: Runs, newest first.
        in_cache: Runs whose outputs the cache may hand out.
        now: Wall-clock seconds.
    """
    cached = frozenset(in_cache)
    ended: Counter[str] = Counter()
    succeeded: set[str] = set()
    decided = Decided([], Counter())
    for row in rows:
        reason: Reason | None = "not ended"
        if row.state in FINISHED:
            newest_success = row.state == "succeeded" and row.pipeline not in succeeded
            reason = _reason(row, retention.of(row.pipeline), ended[row.pipeline], newest_success, cached, now)
            ended[row.pipeline] += 1
            if row.state == "succeeded":
                succeeded.add(row.pipeline)
        if reason is None:
            decided.going.append(row)
        else:
            decided.kept[reason] += 1
    return decided


def decide_versions(rows: Iterable[PublishedVersion], retention: Retention, now: float) -> list[PublishedVersion]:
    """Which versions go: not the newest of a name, no tagged one, and none that a rule keeps.

    Args:
        rows: Versions, newest first within each name.
        now: Wall-clock seconds.
    """
    newer: Counter[str] = Counter()
    going = []
    for row in rows:
        policy = retention.versions.get(row.name, retention.versions.get("default"))
        number = newer[row.name]
        newer[row.name] += 1
        if policy is None or number == 0 or row.tags:
            continue
        recent = policy.keep_for_s is not None and now - row.at <= policy.keep_for_s
        if not recent and (policy.keep_last is None or number >= policy.keep_last):
            going.append(row)
    return going


def read_retention(home: Path) -> Retention:
    """The policies of an installation; none if there is no file.

    Raises:
        ConfigError: the file is broken; names the line.
    """
    try:
        document = read_document(home / FILE)
    except NotFound:
        return Retention()
    validate(document, _SCHEMA)
    default = document.data.get("default")
    by_name: dict[str, dict[str, Policy | None]] = {}
    for part in ("pipelines", "versions"):
        written = document.data.get(part, {})
        by_name[part] = {name: None if written[name] is None else _policy(document, (part, name)) for name in written}
    return Retention(None if default is None else _policy(document, ("default",)), **by_name)


def _policy(document: Document, path: KeyPath) -> Policy:
    written = document.at(path)
    try:
        keep_for = written.get("keep_for")
        return Policy(
            written.get("keep_last"), None if keep_for is None else seconds(keep_for), written.get("keep_tags", {})
        )
    except (ConfigError, InvalidDuration) as error:
        raise document.error(path, f"{'.'.join(map(str, path))}: {error.message}") from error


def _reason(
    row: RunRow, policy: Policy | None, newer: int, newest_success: bool, cached: frozenset[str], now: float
) -> Reason | None:
    """Why an ended run is kept; None if it may go. ``newer`` runs of its pipeline have ended too."""
    if policy is None:
        return "no policy"
    if newest_success:
        return "newest success"
    if policy.keep_last is not None and newer < policy.keep_last:
        return "among the last"
    if policy.keep_for_s is not None and now - (row.finished_at or row.created_at) <= policy.keep_for_s:
        return "recent"
    if any(name in row.tags and value in (None, row.tags[name]) for name, value in policy.keep_tags.items()):
        return "tagged"
    return "in cache" if row.id in cached else None
