"""Promotion of model versions, dev → staging → production, as a pure decision.

Where the versions of a name stand and what somebody wants give either the record of a promotion and the tags after it,
or the reason why not. A version stands where the tags ``staging`` and ``production`` say, else in ``dev``. The registry
decides and writes under the lock of the name, so that two who promote at once come one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from orchestrator.errors import PromotionRefused

ModelStage: TypeAlias = Literal["dev", "staging", "production"]

MODEL_STAGES: tuple[ModelStage, ...] = ("dev", "staging", "production")
PREVIOUS = "previous"
"""Tag of the version that left production last: what to go back to, and what collection therefore keeps."""

PROMOTION_TAGS = frozenset({*MODEL_STAGES, PREVIOUS})
"""Tags of models that only a promotion moves."""


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One thing that has to hold before a version goes up.

    Attributes:
        said: What was found, or why it does not hold.
    """

    name: str
    passed: bool
    said: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for.

    Attributes:
        by, why: Who, and the reason in their words.
        at: Wall-clock seconds.
        checks: What was looked at before; a version goes up only if there are some, and all passed.
        force: Go up although checks did not pass; needs ``why``.
        alias: A tag to give the version in the same transaction; empty for none.
        run: The run in which the checks were made; empty if none was needed.
    """

    name: str
    number: int
    to: ModelStage
    by: str
    at: float
    why: str = ""
    checks: Sequence[GateCheck] = ()
    force: bool = False
    alias: str = ""
    run: str = ""

    @property
    def address(self) -> str:
        """``model:flights@v3``."""
        return f"{self.name}@v{self.number}"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion as it is kept.

    Attributes:
        before, to: Where the version stood, and stands from then on.
        replaced: Number of the version that had the place; None if nobody had.
        forced: Checks had not passed, or there were none; ``why`` says why it was right all the same.
    """

    name: str
    number: int
    before: ModelStage
    to: ModelStage
    replaced: int | None
    by: str
    why: str
    at: float
    checks: tuple[GateCheck, ...]
    forced: bool
    alias: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the versions of a name stand.

    Attributes:
        tags: Number of the version by tag.
        served: Versions that have been in production before: they may go back without checks, and in one go.
    """

    tags: Mapping[str, int] = field(default_factory=dict)
    served: frozenset[int] = frozenset()

    def stage(self, number: int) -> ModelStage:
        """Where a version stands."""
        return stage_of([tag for tag, holder in self.tags.items() if holder == number])


def stage_of(tags: Sequence[str]) -> ModelStage:
    """Where a version with these tags stands."""
    return "production" if "production" in tags else "staging" if "staging" in tags else "dev"


def promote(standing: Standing, wanted: Wanted) -> tuple[Promotion, Standing]:
    """The record of a promotion, and where the versions stand after it.

    Raises:
        PromotionRefused: the version is there already, leaves a stage out, or did not pass its checks.
    """
    before = standing.stage(wanted.number)
    forced = _forced(standing, wanted, before)
    tags = {tag: number for tag, number in standing.tags.items() if tag not in PROMOTION_TAGS}
    kept = {tag: standing.tags.get(tag) for tag in ("staging", "production", PREVIOUS)}
    after = {tag: None if number == wanted.number else number for tag, number in kept.items()}
    replaced = None if wanted.to == "dev" else kept[wanted.to]
    if wanted.to != "dev":
        after[wanted.to] = wanted.number
    left = kept["production"]
    if left is not None and left != after["production"]:
        after[PREVIOUS] = left
    tags |= {tag: number for tag, number in after.items() if number is not None}
    if wanted.alias:
        tags[wanted.alias] = wanted.number
    record = Promotion(
        wanted.name, wanted.number, before, wanted.to, replaced, wanted.by, wanted.why, wanted.at,
        tuple(wanted.checks), forced, wanted.alias, wanted.run,
    )  # fmt: skip
    served = standing.served | ({wanted.number} if wanted.to == "production" else set())
    return record, Standing(tags, frozenset(served))


def needs_checks(standing: Standing, number: int, to: ModelStage) -> bool:
    """Whether a version has to pass checks on its way there: not on its way down, and not back into production."""
    goes_up = MODEL_STAGES.index(to) > MODEL_STAGES.index(standing.stage(number))
    return goes_up and not (to == "production" and number in standing.served)


def stage_for_release(standing: Standing) -> ModelStage:
    """Where a version has to stand to be released if nobody says otherwise: production, once promotion is used."""
    return "production" if standing.served or PROMOTION_TAGS & standing.tags.keys() else "dev"


def check_release(standing: Standing, address: str, number: int, stage: ModelStage) -> None:
    """Refuse to release a version that stands below a stage.

    Raises:
        PromotionRefused: it does; says what to do.
    """
    stands = standing.stage(number)
    if MODEL_STAGES.index(stands) >= MODEL_STAGES.index(stage):
        return
    name = address.partition(":")[2]
    raise PromotionRefused(
        f"{address} is in {stands}, and a release takes a version in {stage}; promote it with: orc promote {name} --to "
        f"{MODEL_STAGES[MODEL_STAGES.index(stands) + 1]}, release from where it is with --stage {stands}, or go past "
        "this with --force --why TEXT",
        version=address,
    )


def check_order(standing: Standing, wanted: Wanted) -> None:
    """Refuse what no check could make right.

    Raises:
        PromotionRefused: the version is there already, leaves a stage out, or ``force`` comes without a reason.
    """
    before = standing.stage(wanted.number)
    if before == wanted.to:
        raise PromotionRefused(f"{wanted.address} is in {wanted.to} already", version=wanted.address)
    if wanted.force and not wanted.why.strip():
        raise PromotionRefused(
            f"{wanted.address}: to go past checks that did not pass takes a reason, which is recorded; say why",
            version=wanted.address,
        )
    if wanted.to == "production" and before == "dev" and wanted.number not in standing.served:
        raise PromotionRefused(
            f"{wanted.address} is in dev, and goes one stage at a time; promote it to staging first",
            version=wanted.address,
        )


def _forced(standing: Standing, wanted: Wanted, before: ModelStage) -> bool:
    """Whether checks that did not pass are overridden; raises if they stand in the way."""
    check_order(standing, wanted)
    if not needs_checks(standing, wanted.number, wanted.to):
        return False
    failed = [check for check in wanted.checks if not check.passed]
    if wanted.checks and not failed:
        return False
    if wanted.force:
        return True
    told = "; ".join(f"{check.name}: {check.said}" for check in failed) or "nothing was checked"
    raise PromotionRefused(
        f"{wanted.address} stays in {before}: {told}", version=wanted.address, checks=[check.name for check in failed]
    )
