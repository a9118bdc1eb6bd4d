"""Schemas of the API about releases: applications, releases, experiments, and what is asked for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from orchestrator.api.schemas import Document

ReleaseStateName = Literal["running", "stopped", "promoted", "rolled_back", "reported", "overruled"]


class Release(Document):
    """A release of a version to an application.

    ``running`` and ``stopped`` have not ended; nobody drives the run of a ``stopped`` one. ``weights`` is the percent
    of the requests for each version as it was left or seen last, empty if somebody else decided. ``model`` is the
    version of the registry, where that is known.
    """

    id: str
    app: str
    run: str
    step: str
    state: ReleaseStateName
    kind: str
    candidate: str
    stable: str
    model: str
    weights: dict[str, float]
    mirrored_percent: float
    began_at: str
    ended_at: str | None
    why: str
    by: str
    forced: str


class ReleasePage(Document):
    """Releases, newest first."""

    items: list[Release]
    next: str | None


class App(Document):
    """An application: how its requests are split as far as the record goes, and what did that last.

    ``models`` are the versions of the registry, where a release on record says so.
    """

    app: str
    weights: dict[str, float]
    models: dict[str, str]
    since: str
    last: Literal["release", "rollback"]
    state: ReleaseStateName
    release: str | None
    run: str
    may_roll_back: bool


class AppPage(Document):
    """Applications by name."""

    items: list[App]


class Guard(Document):
    """What would send a release back, and how far it is proved: ``progress`` from 0 to 1, when it acts.

    ``e_value_log`` and ``needed_log`` are null for guards that act at once and while the release goes on.
    """

    claim: str
    progress: float
    proved: bool
    at_once: bool
    e_value_log: float | None
    needed_log: float | None
    seen: str


class Moment(Document):
    """A release as it stood at one time; ``weight`` in percent, ``guards`` from 0 to 1."""

    at: str
    weight: float
    samples: int
    guards: dict[str, float]


class ExperimentVersion(Document):
    """One of the two versions: how many values of the metric were reported for its answers, and their mean."""

    version: str
    role: Literal["candidate", "stable"]
    values: int
    mean: float


class Effect(Document):
    """Candidate minus stable version, with the ends of the confidence sequence as it stands."""

    difference: float
    low: float
    high: float


class ExperimentSlice(Document):
    """A part of the requests; ``effect`` is null before both versions have values enough."""

    name: str
    candidate_values: int
    stable_values: int
    candidate_mean: float
    stable_mean: float
    effect: Effect | None


class Experiment(Document):
    """An A/B experiment; ``confidence`` is that all its intervals hold at once, however often one looks."""

    metric: str
    better: Literal["higher", "lower"]
    confidence: float
    horizon_s: float
    versions: list[ExperimentVersion]
    effect: Effect | None
    candidate_percent: float
    wanted_percent: float
    split_broken: bool
    slices: list[ExperimentSlice]
    chart_url: str


class ReleaseDetail(Document):
    """One release with what was seen and why it was decided so; ``tags`` are those that moved with its requests."""

    release: Release
    step: int
    steps: list[float]
    samples: int
    strategy: dict[str, Any]
    guards: list[Guard]
    trail: list[Moment]
    figures: dict[str, float]
    tags: list[str]
    url: str
    chart_url: str
    experiment: Experiment | None
    actions: list[Literal["rollback"]]


class NewRelease(Document):
    """A release that is asked for, as ``orc release`` takes it."""

    model: str = Field(min_length=1, max_length=300, description="a version: flights@v3, model:flights@staging")
    app: str = Field(min_length=1, max_length=100)
    how: Literal["canary", "blue-green", "shadow", "ab"] = "canary"
    steps: list[float] = Field(default=[5, 25, 100], min_length=1, max_length=50)
    bake: str = Field(default="2m", max_length=20)
    rollback_if: str = Field(default="", max_length=1000)
    min_samples: int = Field(default=100, ge=1)
    patience: str = Field(default="1h", max_length=20)
    replicas: int = Field(default=1, ge=1, le=1000)
    max_replicas: int = Field(default=0, ge=0, le=1000)
    num_gpus: float = Field(default=0.0, ge=0)
    max_batch_size: int = Field(default=1, ge=1)
    capture: str = Field(default="", max_length=1000)
    capture_share: float = Field(default=0.01, ge=0, le=1)
    metric: str = Field(default="", max_length=200)
    split: float = Field(default=50, ge=0, le=100)
    better: Literal["higher", "lower"] = "higher"
    horizon: str = Field(default="7d", max_length=20)
    min_effect: float | None = None
    slices: list[str] = Field(default=[], max_length=20)
    sample: str | None = Field(default=None, max_length=300)
    max_p99_ms: float = Field(default=100.0, gt=0)
    max_size_mib: float = Field(default=256.0, gt=0)
    stage: Literal["production", "staging", "dev"] | None = None
    force: bool = False
    why: str = Field(default="", max_length=1000)
    alias: str = Field(default="", max_length=100)
    beside: list[str] = Field(default=[], max_length=50)
    keep_tags: bool = False


class NewRollback(Document):
    """A rollback that is asked for; ``to`` is a version as the router calls it, if it is not clear which."""

    to: str | None = Field(default=None, max_length=100)
    keep_tags: bool = False
