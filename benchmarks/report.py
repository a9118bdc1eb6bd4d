"""From readings to a report: medians, ratios and verdicts, as one document, text and Markdown. Measures nothing.

The document is what ``--json`` prints: plain data, so that text, Markdown and picture can be made from a stored one.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.row import Reading, Row, Target

Document = dict[str, Any]

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def describe_row(row: Row, readings: Mapping[str, Sequence[Reading]]) -> Document:
    """Everything that a report says about a row."""
    columns = {name: _column(found) for name, found in readings.items()}
    base = columns[row.base]["median"] if row.base else None
    for column in columns.values():
        column["ratio"] = None if base is None else _ratio(base, column["median"], row)
    return {
        "key": row.key, "title": row.title, "unit": row.unit, "base": row.base, "ratio": row.ratio, "note": row.note,
        "size": row.size,
        "columns": columns, "targets": [_verdict(target, columns, row.unit) for target in row.targets],
    }  # fmt: skip


def _column(found: Sequence[Reading]) -> Document:
    names = dict.fromkeys(name for reading in found for name in reading.figures)
    figures = {name: [float(reading.figures[name]) for reading in found] for name in names}
    samples = [reading.value for reading in found]
    return {
        "median": statistics.median(samples), "samples": samples,
        "figures": {name: {"median": statistics.median(all_), "samples": all_} for name, all_ in figures.items()},
    }  # fmt: skip


def _ratio(base: float, value: float, row: Row) -> float | None:
    """How many times better than the base (``faster``), or the value as a multiple of it (``over``).

    None if there is nothing to divide by: of two facts in one commit both are of the same moment.
    """
    if row.ratio == "faster" and not row.larger_is_better:
        base, value = value, base
    return value / base if base else None


def _verdict(target: Target, columns: Mapping[str, Document], unit: str) -> Document:
    column = columns[target.column]
    value = (column["figures"][target.figure] if target.figure else column)["median"]
    base = columns[target.base]["median"] if target.base else 0.0
    limit = target.limit
    met = {
        "times": value * limit <= base, "share": value <= limit * base, "more": value <= base + limit,
        "most": value <= limit, "least": value >= limit,
    }[target.kind]  # fmt: skip
    return {"column": target.column, "text": target_text(target, unit), "value": value, "met": met}


def target_text(target: Target, unit: str) -> str:
    """A target in words, without its column."""
    limit = number(target.limit)
    if target.kind == "times":
        return f"≥ {limit}× {target.base}"
    if target.kind == "share":
        over = (target.limit - 1) * 100
        return f"≤ {over:g} % over {target.base}" if over else f"no slower than {target.base}"
    if target.kind == "more":
        return f"≤ {target.base} + {limit} {unit}"
    sign = "≤" if target.kind == "most" else "≥"
    return f"{target.figure} {sign} {limit}" if target.figure else f"{sign} {limit} {unit}"


# ---- text


def text(document: Document) -> str:
    """The report for a terminal."""
    lines = [*heading(document), ""]
    for row in document["rows"]:
        lines += [f"{row['title']}  [{row['key']}], {row['unit']}", *_row_lines(row), ""]
    verdicts = [verdict for row in document["rows"] for verdict in row["targets"]]
    lines.append(f"{sum(v['met'] for v in verdicts)} of {len(verdicts)} targets met")
    return "\n".join(lines) + "\n"


def heading(document: Document) -> list[str]:
    """Versions, machine and method, a line each."""
    versions, machine, method = document["versions"], document["machine"], document["method"]
    return [
        f"orchestrator {versions['orchestrator']}, commit {versions['commit']}, Python {versions['python']}, "
        f"Ray {versions['ray']}",
        f"{machine['cores']} cores of {machine['model']}, {machine['memory_gb']:.1f} GB, {machine['system']}, load "
        f"{machine['load']:.2f} at the start, {machine['fsync_ms']:.2f} ms a 4 kB fsync",
        f"medians of {method['repeat']} repetitions, fewer where fewer samples are shown; {method['text']}",
        *(["small sizes: that it works, not how fast it is"] if method["quick"] else []),
    ]


def _row_lines(row: Document) -> list[str]:
    lines = []
    for name, column in row["columns"].items():
        samples = ", ".join(map(number, column["samples"]))
        lines.append(f"  {name:22} {number(column['median']):>10}  {ratio_text(row, name):>24}  ({samples})")
        lines += [f"      {what}: {number(of['median'])}" for what, of in column["figures"].items()]
    for verdict in row["targets"]:
        lines.append(f"  {'met   ' if verdict['met'] else 'MISSED'}  {verdict['column']}: {verdict['text']}")
    return lines + ([f"  ({row['note']})"] if row["note"] else [])


def ratio_text(row: Document, column: str) -> str:
    """How a column compares with the base of its row; empty for the base itself."""
    ratio = row["columns"][column]["ratio"]
    if ratio is None or column == row["base"]:
        return ""
    if row["ratio"] == "over":
        over = (ratio - 1) * 100
        return f"{abs(over):.1f} % {'over' if over >= 0 else 'under'} {row['base']}"
    return f"{number(ratio)} × {row['base']}"


def number(value: float) -> str:
    """Three digits that matter, without exponents."""
    if value == 0 or not abs(value) < 1e15:
        return f"{value:g}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.6f}".rstrip("0")


# ---- Markdown


def markdown(document: Document) -> str:
    """The report as one table with its heading."""
    lines = [
        ". ".join(line[0].upper() + line[1:] for line in heading(document)) + ".",
        "",
        "| work | column | median | compared | samples | target |",
        f"|{'---|' * 6}",
    ]
    for row in document["rows"]:
        for place, (name, column) in enumerate(row["columns"].items()):
            samples = ", ".join(map(number, column["samples"]))
            figures = "".join(f"<br>{what}: {number(of['median'])}" for what, of in column["figures"].items())
            targets = "<br>".join(
                f"{v['text']}: {'met' if v['met'] else '**missed**'}" for v in row["targets"] if v["column"] == name
            )
            cells = (
                row["title"] if place == 0 else "", name, f"{number(column['median'])} {row['unit']}{figures}",
                ratio_text(row, name), samples, targets,
            )  # fmt: skip
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def put_between(page: str, table: str) -> str:
    """A page with the table between its two marks.

    Raises:
        ValueError: the page does not have the marks, in order and once each.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs the lines {BEGIN} and {END}, once each; add them where the table is to be")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}{END}{rest.partition(END)[2]}"
