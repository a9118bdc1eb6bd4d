"""The quality of a run as one HTML page: checks with their states, tables column by column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --page: #fff; --link: #1d4ed8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9aa5b1; --line: #3e4c59; --page: #1b1f24; --link: #93b4ff; }
}
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 1100px; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: .9rem; font-weight: 600; color: var(--soft); margin: 1rem 0 .25rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
ul { list-style: none; padding: 0; margin: .25rem 0; } li { padding: .15rem 0; }
nav ul { columns: 18rem; }
.state { display: inline-block; width: 4.6rem; font-size: .8rem; text-align: center; border-radius: 3px; color: #fff; }
.passed { background: #276749; } .warned { background: #975a16; } .failed { background: #b42318; }
.said { color: var(--soft); margin-left: 5rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { text-align: right; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), th:last-child, td:last-child { text-align: left; }
td:last-child { white-space: normal; min-width: 12rem; }
"""
_WORST_FIRST = ("failed", "warned", "passed")


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
    body = "\n".join(_section(place, section) for place, section in enumerate(sections))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{_contents(sections)}\n{body}\n</body></html>\n"
    )


def _contents(sections: Sequence[QualitySection]) -> str:
    """What was found in all, and a link to each step with its worst state."""
    if not sections:
        return "<p>No step has checks or a table that was described.</p>"
    counts = Counter(state for section in sections for state, _, _ in section.checks)
    told = ", ".join(f"{counts[state]:,} {state}" for state in _WORST_FIRST if counts[state]) or "none"
    tables = sum(len(section.tables) for section in sections)
    links = "\n".join(_link(place, section) for place, section in enumerate(sections))
    return f"<p>Checks: {told}. Tables described: {tables:,}.</p>\n<nav><ul>\n{links}\n</ul></nav>"


def _link(place: int, section: QualitySection) -> str:
    states = {state for state, _, _ in section.checks}
    worst = next((state for state in _WORST_FIRST if state in states), None)
    mark = f' <span class="state {worst}">{worst}</span>' if worst else ""
    return f'<li><a href="#step-{place}">{escape(section.title)}</a>{mark}</li>'


def _section(place: int, section: QualitySection) -> str:
    parts = [f'<h2 id="step-{place}">{escape(section.title)}</h2>']
    if section.checks:
        ordered = sorted(section.checks, key=lambda check: _WORST_FIRST.index(check[0]))
        parts += ["<ul>", *(_check(*check) for check in ordered), "</ul>"]
    for title, header, rows in section.tables:
        parts += [f"<h3>{escape(title)}</h3>", '<div class="wide"><table><thead>', _row("th", header)]
        parts += ["</thead><tbody>", *(_row("td", row) for row in rows), "</tbody></table></div>"]
    return "\n".join(parts)


def _check(state: str, name: str, message: str) -> str:
    said = f'<div class="said">{escape(message)}</div>' if message else ""
    return f'<li><span class="state {escape(state)}">{escape(state)}</span> {escape(name)}{said}</li>'


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
