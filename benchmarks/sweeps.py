"""Rows of sweeps: trials beside plain steps that do the same, and trials that report beside Ray Tune by hand."""

from __future__ import annotations

from benchmarks import sweep_pipelines as ours
from benchmarks.measure import seconds
from benchmarks.place import Place
from benchmarks.row import Row, Target
from benchmarks.sizes import Sizes
from benchmarks.small_steps import LOCAL, ON_RAY, runs

TRIALS, REPORTS = 8, 3
MOST = 1.3
STEPS_LOCAL, STEPS_ON_RAY = "plain steps, local", "plain steps, Ray"
TUNE, STEERED = "Ray Tune", "ours on Tune"


def rows(sizes: Sizes, place: Place) -> list[Row]:
    """Tiny trials, and trials that report."""
    found = [_plain()]
    return [*found, _reporting(place)] if sizes.cold_ray else found


def _plain() -> Row:
    params = {"trials": TRIALS}
    columns = {
        STEPS_LOCAL: seconds(runs(ours.plain_steps, "local", params)),
        LOCAL: seconds(runs(ours.swept, "local", params)),
        STEPS_ON_RAY: seconds(runs(ours.plain_steps, "ray", params)),
        ON_RAY: seconds(runs(ours.swept, "ray", params)),
    }
    return Row(
        "sweep-plain", f"sweep of {TRIALS} tiny trials", "s", columns, lambda salt: salt + TRIALS - 1,
        [Target(LOCAL, "share", MOST, STEPS_LOCAL), Target(ON_RAY, "share", MOST, STEPS_ON_RAY)],
        STEPS_LOCAL, "over", warm=columns,
        note="plain steps: a map over the points and a stage that takes the best",
    )  # fmt: skip


def _reporting(place: Place) -> Row:
    def by_hand(salt: int) -> int:
        from benchmarks import raw_tune

        return raw_tune.sweep(salt, TRIALS, REPORTS, place.row_home / "tune")

    params = {"trials": TRIALS, "reports": REPORTS}
    columns = {
        TUNE: seconds(by_hand),
        STEERED: seconds(runs(ours.steered, "ray", params)),
        ON_RAY: seconds(runs(ours.reporting, "ray", params)),
        LOCAL: seconds(runs(ours.reporting, "local", params)),
    }
    return Row(
        "sweep-reporting", f"sweep of {TRIALS} trials with {REPORTS} reports each", "s", columns,
        lambda salt: salt + TRIALS - 1, [Target(STEERED, "share", MOST, TUNE)], TUNE, "over", most_repeats=3,
        note="Ray Tune: a class with reset_config and reused actors, quiet, no log files; on Tune: with a scheduler; "
        "the others: no scheduler, so that trials are steps",
    )  # fmt: skip
