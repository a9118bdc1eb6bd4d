"""A campaign as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib import metadata

from tests.chaos.campaign import Campaign
from tests.chaos.evidence import Outcome


def to_json(campaign: Campaign) -> str:
    """One document: the totals, and every run."""
    document = {
        "machine": _machine(),
        "commit": _commit(),
        "seed": campaign.seed,
        "took_s": round(campaign.took_s, 1),
        "runs": len(campaign.outcomes),
        "redone": sum(outcome.redone for outcome in campaign.outcomes),
        "lost": sum(outcome.lost for outcome in campaign.outcomes),
        "violations": sum(len(outcome.violations) for outcome in campaign.outcomes),
        "not_possible_here": campaign.impossible,
        "outcomes": [asdict(outcome) for outcome in campaign.outcomes],
    }
    return json.dumps(document, indent=1)


def to_markdown(campaign: Campaign) -> str:
    """Faults by kind, with what became of their runs."""
    by_kind: defaultdict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in campaign.outcomes:
        by_kind[outcome.fault, outcome.store].append(outcome)
    lines = [
        f"{_machine()}; commit {_commit()}; seed {campaign.seed}; {campaign.took_s / 60:.1f} minutes.",
        "",
        "| fault | store | runs | steps | finished steps redone | lost facts | other violations | bodies repeated "
        "| recovery, median (s) | max (s) |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(fault, store, outcomes) for (fault, store), outcomes in by_kind.items()),
        *(
            _row("**all**", store, [outcome for outcome in campaign.outcomes if outcome.store == store])
            for store in campaign.stores
        ),
        "",
    ]
    lines += [f"Not possible here: {name} ({reason})." for name, reason in campaign.impossible.items()]
    for outcome in campaign.violations:
        lines += [f"- {outcome.fault} on {outcome.store}, seed {outcome.seed}, run {outcome.run}:"]
        lines += [f"  - {text}" for text in outcome.violations]
    return "\n".join(lines) + "\n"


def _row(fault: str, store: str, outcomes: Sequence[Outcome]) -> str:
    recoveries = [outcome.recovery_s for outcome in outcomes if outcome.recovery_s is not None]
    redone, lost = _sum(o.redone for o in outcomes), _sum(o.lost for o in outcomes)
    others = _sum(len(o.violations) for o in outcomes) - redone - lost
    median, most = (f"{statistics.median(recoveries):.1f}", f"{max(recoveries):.1f}") if recoveries else ("–", "–")
    steps, repeated = _sum(o.steps for o in outcomes), _sum(o.repeated for o in outcomes)
    return (
        f"| {fault} | {store} | {len(outcomes)} | {steps} | {redone} | {lost} | {others} | {repeated} "
        f"| {median} | {most} |"
    )


def _sum(numbers: Iterable[int]) -> int:
    return sum(numbers)


def _machine() -> str:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {gigabytes:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, Ray {metadata.version('ray')}"
    )


def _commit() -> str:
    call = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return call.stdout.strip() or "unknown"
