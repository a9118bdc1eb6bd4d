"""``python -m benchmarks [row …]``: measure the rows of the table of targets, or some, and say what was found."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    curves,
    machine,
    million,
    real_work,
    report,
    routing,
    small_steps,
    starts,
    store,
    streams,
    sweeps,
    tables,
    watched,
)
from benchmarks.measure import measure
from benchmarks.peers import PEERS
from benchmarks.picture import svg
from benchmarks.place import Place
from benchmarks.row import Row
from benchmarks.sizes import FULL, QUICK

FAMILIES = (small_steps, million, real_work, starts, store, streams, sweeps, tables, routing, watched)
METHOD = (
    "the columns of a row take turns on one Ray and one machine, each time with a fresh 60-bit salt, and every answer "
    "is checked; right before each measurement the same column runs once in small, uncounted, for raw Ray's sake as "
    "well as ours (not where a fresh process is measured); ours is durable with fsync, and its times go from "
    "P.run(...) to .result(); raw Ray keeps nothing; ratios are of medians"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and draw; 1 if a target is missed and ``--strict`` asks for it."""
    given = _parser().parse_args(arguments)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode; a checkout gets it once
    home = Path(tempfile.mkdtemp(prefix="orc-benchmark-", dir=given.home))
    place = Place(home)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that Ray and directory go as well
    try:
        document = _measured(given, place)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        place.stop_ray()
        shutil.rmtree(home, ignore_errors=True)
    _write(given, document)
    missed = any(not verdict["met"] for row in document["rows"] for verdict in row["targets"])
    return 1 if missed and given.strict else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="keys of rows, see --list; all when none is given")
    parser.add_argument("--list", action="store_true", help="list the rows and end")
    parser.add_argument("--repeat", type=_count, default=5, metavar="N", help="repetitions (5); long rows take fewer")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that rows work, not how fast they are")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the rows of small steps, with the peers")
    parser.add_argument("--curves", type=Path, metavar="FILE", help="draw the rows of tables by their size")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table between the marks of a page")
    parser.add_argument("--home", type=Path, metavar="DIR", help="where runs are kept meanwhile: the disk to measure")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if a target is missed")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("has to be 1 or more")
    return count


def _measured(given: argparse.Namespace, place: Place) -> dict[str, Any]:
    about = {"versions": machine.versions(), "machine": machine.machine(place.home, place.slots)}
    rows = _chosen(given, place)
    if any(row.needs_ray for row in rows):
        _tell("a Ray starts")
        place.start_ray()
    found = []
    for row in rows:
        row_home = place.home / row.key
        row_home.mkdir()
        readings = measure(row, given.repeat, row_home, _tell, warm=not given.quick)
        found.append(report.describe_row(row, readings))
    method = {"repeat": given.repeat, "quick": given.quick, "text": METHOD}
    return about | {"method": method, "rows": found}


def _chosen(given: argparse.Namespace, place: Place) -> list[Row]:
    sizes = QUICK if given.quick else FULL
    rows = {row.key: row for family in FAMILIES for row in family.rows(sizes, place)}
    if given.list:
        for row in rows.values():
            print(f"{row.key:15} {row.title}")
        raise SystemExit(0)
    unknown = [key for key in given.rows if key not in rows]
    if unknown:
        raise SystemExit(f"there is no row {', '.join(unknown)}; there are: {', '.join(rows)}")
    return [row for key, row in rows.items() if not given.rows or key in given.rows]


def _write(given: argparse.Namespace, document: dict[str, Any]) -> None:
    if given.json:
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        sys.stdout.write(report.text(document))
    if given.svg is not None:
        caption = f"{_caption(document)}; grey: other engines, measured earlier on 2 other cores."
        peers = () if given.quick else PEERS  # they were measured in full
        given.svg.write_text(svg(document["rows"], peers, caption))
    if given.curves is not None:
        given.curves.write_text(curves.svg(document["rows"], _caption(document)))
    if given.markdown is not None:
        table = report.markdown(document)
        page = given.markdown.read_text() if given.markdown.exists() else f"{report.BEGIN}\n{report.END}\n"
        given.markdown.write_text(report.put_between(page, table))


def _caption(document: dict[str, Any]) -> str:
    versions, place = document["versions"], document["machine"]
    return (
        f"Measured at commit {versions['commit']} on {place['cores']} cores of {place['model']}, Python "
        f"{versions['python']}, Ray {versions['ray']}"
    )


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
