"""Pieces of HTML that notebooks and exported pages share: a frame with its style, tables, states, failures.

The style stands on light and dark grounds alike: texts take the colour of the page around them, lines and grounds are a
grey that is half transparent, states are told by mark, word and colour. Drawings with a ground of their own change it
in dark notebooks. Rules are written thrice over (``.orc.orc.orc``) to win over what notebooks say of tables and lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.graph.fact import Failure
from orchestrator.views.lettering import FAMILY, escape
from orchestrator.views.panel import AT_NIGHT
from orchestrator.views.status import LOOKS, count_text
from orchestrator.views.timeline import bar_svg

_WIDE = 6
"""Tables of more columns are wider than many windows: they can be reached, and scrolled, with the keyboard."""

STYLE = f"""
.orc{{font:13px/1.5 {FAMILY};color:inherit;max-width:100%;text-align:left}}
.orc.orc.orc p{{margin:4px 0;overflow-wrap:anywhere}}
.orc.orc.orc .head{{font-size:15px;font-weight:600;margin:2px 0 6px}}
.orc.orc.orc table{{border-collapse:collapse;margin:4px 0 8px;font-size:12.5px;border:0;width:auto}}
.orc.orc.orc th,.orc.orc.orc td{{padding:3px 16px 3px 0;text-align:left;vertical-align:top;background:none;
color:inherit;border:0;border-bottom:1px solid rgba(125,136,153,.35);white-space:normal;
overflow-wrap:break-word;max-width:none}}
.orc.orc.orc tr{{background:none}}
.orc.orc.orc thead th,.orc.orc.orc dt,.orc.orc.orc .soft{{font-weight:500;opacity:.75}}
.orc.orc.orc thead th{{white-space:nowrap}}
.orc.orc.orc tbody th{{font-weight:600}}
.orc.orc.orc .n{{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}}
.orc.orc.orc .state{{display:inline-flex;align-items:center;gap:5px;white-space:nowrap;font-weight:600;
vertical-align:bottom}}
.orc.orc.orc dl{{display:flex;flex-wrap:wrap;gap:4px 28px;margin:6px 0}}
.orc.orc.orc dt,.orc.orc.orc dd{{float:none;clear:none;display:block;width:auto}}
.orc.orc.orc dt{{font-size:12px;margin:0;padding:0}}
.orc.orc.orc dd{{margin:0;padding:0;overflow-wrap:anywhere}}
.orc.orc.orc .scroll{{overflow:auto;max-width:100%}}
.orc.orc.orc pre,.orc.orc.orc .words{{background:rgba(125,136,153,.12);border-radius:6px;padding:8px 12px;
margin:4px 0 8px;white-space:pre-wrap;overflow-wrap:anywhere;max-height:320px;overflow:auto;border:0}}
.orc.orc.orc pre,.orc.orc.orc code{{font:12px/1.5 ui-monospace,"SF Mono","DejaVu Sans Mono",monospace;color:inherit}}
.orc.orc.orc code{{background:none;padding:0;border:0;overflow-wrap:anywhere}}
.orc.orc.orc .wrong{{border-left:4px solid #c44601;padding:2px 0 2px 12px;margin:6px 0}}
.orc.orc.orc details{{margin:6px 0}}
.orc.orc.orc summary{{cursor:pointer}}
.orc.orc.orc ol{{margin:4px 0;padding-left:22px}}
.orc.orc.orc img{{max-width:100%}}
.orc.orc.orc svg{{max-width:none;vertical-align:-1px}}
.orc.orc.orc svg text[fill="#7d8899"]{{fill:currentColor;opacity:.8}}
.orc.orc.orc svg.bar{{display:inline-block;vertical-align:1px;margin-right:6px}}
"""

_NIGHTS = ':is([data-jp-theme-light="false"],[theme="dark"],.vscode-dark,.dark)'
"""Marks of dark notebooks: those of Jupyter, Colab, VS Code and marimo; what the system prefers says nothing there."""

_STATES = {
    "retrying": "#f08adf", "waiting": "#e0bd3c", "degraded": "#f5a742", "dropped": "#f5a742", "cached": "#93bfea",
    "cancelled": "#b9a8c4",
}  # fmt: skip
"""Colours of states on dark grounds, beside those of ``AT_NIGHT``."""

_RANKS = ("#3a4a5c", "#43617d", "#4b79a0", "#5295c7", "#58b2ea")

STYLE += "".join(
    f'{_NIGHTS} .orc [fill="{day}"]{{fill:{night}}}{_NIGHTS} .orc [stroke="{day}"]{{stroke:{night}}}\n'
    for day, night in {**AT_NIGHT, **{LOOKS[state].colour: night for state, night in _STATES.items()}}.items()
) + "".join(
    f"{_NIGHTS} .orc polyline.rank{rank}{{stroke:{night}}}{_NIGHTS} .orc circle.rank{rank}{{fill:{night}}}\n"
    for rank, night in enumerate(_RANKS)
)


class Number(NamedTuple):
    """A text that stands at the right of its column."""

    text: str


class Markup(NamedTuple):
    """HTML that goes into a cell as it is."""

    html: str


Cell = str | Number | Markup
"""What a table holds; texts are escaped."""


def framed(*parts: str) -> str:
    """Pieces as one fragment that brings its own style along."""
    return f'<div class="orc"><style>{STYLE}</style>{"".join(parts)}</div>'


def head(text: str, state: str = "", said: str = "") -> str:
    """The first line, with a state behind it."""
    shown = f" &nbsp; {mark(state, said)}" if state else ""
    return f'<p class="head">{escape(text)}{shown}</p>'


def paragraph(text: str, soft: bool = False) -> str:
    """A paragraph; nothing for an empty text."""
    opened = '<p class="soft">' if soft else "<p>"
    return f"{opened}{escape(text)}</p>" if text else ""


def mark(state: str, said: str = "") -> str:
    """A state as its mark and its name, or as other words."""
    look = LOOKS.get(state, LOOKS["pending"])
    icon = (
        f'<svg aria-hidden="true" width="12" height="12" viewBox="0 0 12 12"><path d="{look.icon}" fill="none" '
        f'stroke="{look.colour}" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"/></svg>'
    )
    return f'<span class="state">{icon}{escape(said or state)}</span>'


def counted(counts: Mapping[str, int]) -> str:
    """Numbers of steps by state: a bar, and each number with its state."""
    ordered = [(state, counts[state]) for state in LOOKS if counts.get(state)]
    if not ordered:
        return ""
    told = " &nbsp; ".join(mark(state, f"{count_text(count)} {state}") for state, count in ordered)
    return f"<p>{bar_svg(ordered)} {told}</p>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Labels with their texts, side by side; those without a text are left out."""
    shown = [f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in pairs if text]
    return f"<dl>{''.join(shown)}</dl>" if shown else ""


def table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str = "", named: bool = True) -> str:
    """A table; the first cell of each row names it, unless its rows have no names."""
    if not rows:
        return ""
    top = "".join(_title(title, isinstance(cell, Number)) for title, cell in zip(titles, rows[0], strict=True))
    body = "".join(
        f"<tr>{''.join(_cell(cell, named and not place) for place, cell in enumerate(row))}</tr>" for row in rows
    )
    said = f'<caption style="text-align:left" class="soft">{escape(caption)}</caption>' if caption else ""
    shown = f"<thead><tr>{top}</tr></thead>" if any(titles) else ""
    region = f' tabindex="0" role="region" aria-label="{escape(caption or "Table")}"' if len(titles) > _WIDE else ""
    return f'<div class="scroll"{region}><table>{said}{shown}<tbody>{body}</tbody></table></div>'


def _title(title: str, right: bool) -> str:
    if not title:
        return "<td></td>"
    return f'<th scope="col" class="n">{escape(title)}</th>' if right else f'<th scope="col">{escape(title)}</th>'


def _cell(cell: Cell, first: bool) -> str:
    tag, attributes = ("th", ' scope="row"') if first else ("td", "")
    if isinstance(cell, Number):
        attributes += ' class="n"'
    content = cell.html if isinstance(cell, Markup) else escape(cell.text if isinstance(cell, Number) else cell)
    return f"<{tag}{attributes}>{content}</{tag}>"


def failed(failure: Failure, where: str = "") -> str:
    """Why something failed, with the frames of the user's own code, innermost first."""
    lines = "".join(f"<li><code>{escape(frame)}</code></li>" for frame in reversed(failure.frames))
    frames = f"<ol>{lines}</ol>" if lines else ""
    told = f'<pre style="max-height:160px">{escape_lines(failure.message)}</pre>' if failure.message else ""
    before = f"{escape(where)}: " if where else ""
    return (
        f'<div class="wrong" role="group" aria-label="Error"><p>{before}<strong>{escape(failure.name)}</strong></p>'
        f"{told}{frames}</div>"
    )


def escape_lines(text: str) -> str:
    """Text of several lines, escaped line by line; tabs become spaces."""
    return "\n".join(escape(line.expandtabs(4)) for line in text.split("\n"))


def folded(title: str, content: str, is_open: bool = False, key: str = "") -> str:
    """What is shown when its title is opened; nothing without content."""
    if not content:
        return ""
    named = f' id="{escape(key)}"' if key else ""
    return f"<details{named}{' open' if is_open else ''}><summary>{title}</summary>{content}</details>"
