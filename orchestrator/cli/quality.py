"""``orc quality``: what the checks of a run found, its failing rows, and how its tables look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.outputs import Outputs
from orchestrator.app.quality import CheckTotal, QualityRecord, quality_of
from orchestrator.app.run import Run
from orchestrator.cli.data_documents import CheckedItem, ProfileItem, QualityDocument, QualityItem
from orchestrator.cli.listing import Json
from orchestrator.cli.output import note, size, table, write, write_json
from orchestrator.cli.running import RunId
from orchestrator.cli.text import as_text
from orchestrator.errors import ConfigError
from orchestrator.views.quality import QualitySection, quality_html

MaybeStep = Annotated[
    str | None, typer.Argument(metavar="STEP", help="scope/name#2[7]; all steps with checks or tables if not given")
]
Rows = Annotated[str | None, typer.Option("--rows", metavar="CHECK", help="the failing rows that this check kept")]
To = Annotated[Path | None, typer.Option("--to", metavar="FILE", help="save these rows as an Arrow file")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write the report as a page")]


def quality(
    run_id: RunId,
    address: MaybeStep = None,
    rows: Rows = None,
    to: To = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Show what the checks of a run found and how its tables look; nothing is unpickled."""
    here = Installation()
    run = Run(here, here.journal.run(run_id).id)
    node, item = _place(run, address)
    record = quality_of(run.events())
    outputs = Outputs(here, run.fold())
    if rows is not None:
        _rows(here, run, record, outputs, node, item, rows, to)
        return
    if to is not None:
        raise ConfigError("--to saves failing rows; say of which check with --rows")
    names = [name for name in (*record.reports, *record.profiles) if node in (None, name)]
    items = [_item(here, run.id, record, outputs, name, item) for name in dict.fromkeys(names)]
    document = QualityDocument(run.id, items)
    if html is not None:
        html.write_text(quality_html(f"Quality of {run.id}", list(map(_section, items))))
        note(f"{html}: {len(items)} steps")
    if json:
        write_json(document)
    elif html is None:
        _tell(document)


def _place(run: Run, address: str | None) -> tuple[str | None, int | None]:
    if address is None:
        return None, None
    node, _, index = run[address].address.partition("[")
    return node, int(index.rstrip("]")) if index else None


def _rows(
    here: Installation,
    run: Run,
    record: QualityRecord,
    outputs: Outputs,
    node: str | None,
    item: int | None,
    check: str,
    to: Path | None,
) -> None:
    if node is None:
        raise ConfigError("--rows prints the failing rows of one step; name the step")
    cell = record.rows_cell(here, run.id, node, check, item)
    if to is None:
        write(as_text(outputs.data(cell)))
        return
    note(f"{to}: {size(to.write_bytes(outputs.stored([cell])))}")


def _item(
    here: Installation, run: str, record: QualityRecord, outputs: Outputs, node: str, item: int | None
) -> QualityItem:
    cells = here.cells(run)
    profiles = [
        ProfileItem(index, part, **{"sampled": 0, "columns": [], "problem": "", **found})
        for index, fact in sorted(record.profiles.get(node, {}).items())
        if item in (None, index)
        for part, found in outputs.data(cells.chunk(fact.chunk)[fact.at]).items()
    ]
    return QualityItem(node, [_checked(total) for total in record.totals(node)], profiles)


def _checked(total: CheckTotal) -> CheckedItem:
    return CheckedItem(
        total.name, total.severity, total.state, total.checked, total.failed, total.items, total.message, total.column
    )


def _tell(document: QualityDocument) -> None:
    if not document.steps:
        write("no step of this run has checks or a table that was described")
    for step in document.steps:
        write(step.address)
        for check in step.checks:
            write(f"  {check.state:<7} {check.name}" + (f": {check.message}" if check.state != "passed" else ""))
        for profile in step.profiles[:3]:
            write("\n".join(f"  {line}" for line in _profile(profile)))
        if len(step.profiles) > 3:
            write(f"  … and {len(step.profiles) - 3} more tables")


def _profile(profile: ProfileItem) -> Iterator[str]:
    part = f"{profile.part}: " if profile.part else ""
    seen = f", {profile.sampled:,} of them looked at" if profile.sampled < profile.rows else ""
    yield f"{part}{profile.rows:,} rows{seen}"
    if profile.problem:
        yield f"not described: {profile.problem}"
    else:
        yield from table(HEADER, [column_cells(column, profile.rows) for column in profile.columns]).splitlines()


HEADER = ("column", "type", "nulls", "distinct", "min", "median", "mean", "max", "most frequent")


def column_cells(column: dict[str, Any], rows: int) -> tuple[str, ...]:
    """A column's profile as the cells of a row; ``rows`` is how many the table has."""
    quantiles = column.get("quantiles") or []
    top = ", ".join(f"{value} ({count:,})" for value, count in (column.get("top") or [])[:3])
    middle = quantiles[len(quantiles) // 2] if quantiles else None
    figures = (column.get("min"), middle, column.get("mean"), column.get("max"))
    distinct = column.get("distinct")
    gaps = _gaps(column["nulls"] + column.get("nans", 0), rows)
    return (
        column["name"],
        column["type"],
        gaps,
        "" if distinct is None else f"{distinct:,}",
        *map(_figure, figures),
        top,
    )


def _gaps(count: int, rows: int) -> str:
    """How many values are missing, and which share of the rows that is."""
    return f"{count:,} ({count / rows:.1%})" if count and rows else f"{count:,}"


def _figure(value: Any) -> str:
    """A number as people write it: years without a comma, incomes with one, exponents only where they are needed."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if 10_000 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _section(item: QualityItem) -> QualitySection:
    checks = [(check.state, check.name, check.message if check.state != "passed" else "") for check in item.checks]
    tables = [
        (next(_profile(profile)), HEADER, [column_cells(column, profile.rows) for column in profile.columns])
        for profile in item.profiles[:20]
    ]
    return QualitySection(item.address, checks, tables)
