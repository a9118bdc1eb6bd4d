"""The quality of a run as one HTML page: checks with their states, tables column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #1f2933; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } h3 { font-size: .9rem; color: #52606d; }
ul { list-style: none; padding: 0; } li { padding: .15rem 0; }
.state { display: inline-block; width: 4.6rem; font-size: .8rem; text-align: center; border-radius: 3px; color: #fff; }
.passed { background: #2f855a; } .warned { background: #b7791f; } .failed { background: #c53030; }
.said { color: #52606d; margin-left: 5rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { text-align: right; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid #e4e7eb; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), th:last-child, td:last-child { text-align: left; }
@media (prefers-color-scheme: dark) { body { background: #1b1f24; color: #e4e7eb; } th, td { border-color: #3e4c59; } }
"""


@dataclass(frozen=True, slots=True)
class QualitySection:
    """One step.

    Attributes:
        checks: State (``passed``, ``warned``, ``failed``), name and message.
        tables: Title, header and rows of each table that describes one.
    """

    title: str
    checks: Sequence[tuple[str, str, str]]
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]]


def quality_html(title: str, sections: Sequence[QualitySection]) -> str:
    """The page, whole in itself."""
    body = "\n".join(map(_section, sections)) or "<p>No step has checks or a table that was described.</p>"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _section(section: QualitySection) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.checks:
        parts += ["<ul>", *(_check(*check) for check in section.checks), "</ul>"]
    for title, header, rows in section.tables:
        parts += [f"<h3>{escape(title)}</h3>", '<div class="wide"><table>', _row("th", header)]
        parts += [*(_row("td", row) for row in rows), "</table></div>"]
    return "\n".join(parts)


def _check(state: str, name: str, message: str) -> str:
    said = f'<div class="said">{escape(message)}</div>' if message else ""
    return f'<li><span class="state {escape(state)}">{escape(state)}</span> {escape(name)}{said}</li>'


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
