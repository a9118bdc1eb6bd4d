"""``python -m tests.chaos --minutes 30``: real faults on a real cluster, and a report of what came of them."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from tests.chaos.campaign import SHORT_MINUTES, Campaign
from tests.chaos.report import to_json, to_markdown
from tests.chaos.world import Store

_STORES: dict[str, tuple[Store, ...]] = {
    "sqlite": ("sqlite",),
    "postgresql": ("postgresql",),
    "both": ("sqlite", "postgresql"),
}


def main() -> int:
    """Run; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=SHORT_MINUTES, help="how long to go on; 2: every fault once")
    parser.add_argument("--store", choices=sorted(_STORES), default="both")
    parser.add_argument("--seed", type=int, default=None, help="of all random choices; another each time if not given")
    parser.add_argument("--only", nargs="*", default=[], help="parts of names of faults")
    parser.add_argument("--report", type=Path, help="write the report as Markdown here instead of to standard output")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    wanted = parser.parse_args()
    seed = secrets.randbits(32) if wanted.seed is None else wanted.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    campaign = Campaign(wanted.minutes, _STORES[wanted.store], seed, tuple(wanted.only))
    try:
        campaign.least()
    except ValueError as error:
        parser.error(str(error))
    try:
        campaign.run()
    except KeyboardInterrupt:
        print("stopped early; the report has the runs that came to their end", file=sys.stderr)
    if wanted.report:
        wanted.report.write_text(to_markdown(campaign))
    if wanted.json:
        print(to_json(campaign))
    elif not wanted.report:
        print(to_markdown(campaign))
    return 1 if campaign.violations else 0


if __name__ == "__main__":
    sys.exit(main())
