"""A graph, or a run of it, as one self-contained SVG: no scripts, no fonts, no colours that need a certain page.

Cards have their own light ground; everything else is drawn in mid-greys that stand on light and dark pages alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from orchestrator.graph.node import Graph
from orchestrator.views.cards import RESULT, Card, Picture, picture, scopes_of, status_text
from orchestrator.views.layout import Area, Layout, Leaf, Point, Size, lay_out
from orchestrator.views.lettering import FAMILY, escape, text_width, wrapped
from orchestrator.views.status import LOOKS, NodeStatus, count_text, duration_text
from orchestrator.views.timeline import filling

MARGIN = 18.0
_TITLE, _NOTE, _HEADING = 13.0, 11.0, 15.0
_LINE = 15.0
_PAD = 12.0
_STACK = 4.0
_COLUMNS = 44
_GREY = "#7d8899"
_INK = "#1c2430"
_FAINT = "#5b6675"
_GROUND = "#f6f8fb"


def graph_svg(
    graph: Graph, status: Mapping[str, NodeStatus] | None = None, link: Callable[[str], str] | None = None
) -> str:
    """Draw a graph; with ``status`` (by node id), the state of a run of it on every node; ``link`` names its page."""
    return picture_svg(picture(graph, status), link)


def picture_svg(shown: Picture, link: Callable[[str], str] | None = None) -> str:
    """Draw a picture; with ``link`` (by key of a card), its cards lead to pages."""
    leaves = [Leaf(card.key, tuple(scopes_of(card)), _size(card)) for card in shown.cards]
    wires = [(edge.source, edge.target) for edge in shown.edges]
    if shown.results:
        leaves.append(Leaf(RESULT, (), Size(text_width("result", _NOTE, bold=True) + 2 * _PAD, 22.0)))
        wires += [(source, RESULT) for source in shown.results]
    layout = lay_out(leaves, wires)
    met = {state for card in shown.cards if card.status for state in _shown_states(card.status)}
    legend, legend_width = _legend([state for state in LOOKS if state in met], layout.height + 16)
    content_width = max(layout.width, text_width(shown.title, _HEADING, bold=True), legend_width)
    width = content_width + 2 * MARGIN
    height = layout.height + 2 * MARGIN + 30 + (34 if legend else 0)
    shift = (content_width - layout.width) / 2
    body = [
        f'<text x="{MARGIN:g}" y="{MARGIN + 13:g}" font-size="{_HEADING:g}" font-weight="600" fill="{_GREY}">'
        f"{escape(shown.title)}</text>",
        f'<g transform="translate({MARGIN + shift:.1f} {MARGIN + 30:g})">',
        *_scopes(layout),
        *_edges(shown, layout),
        *(line for card in shown.cards for line in _linked(card, layout.cards[card.key], link)),
        *_result(shown, layout),
        "</g>",
        *([f'<g transform="translate({MARGIN:g} {MARGIN + 30:g})">', *legend, "</g>"] if legend else []),
    ]
    role = "img" if link is None else "group"  # what has links in it is no picture for those who do not see it
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="{role}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FAMILY}"><title>{escape(shown.title)}</title>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


# ---- sizes


def _size(card: Card) -> Size:
    if card.kind == "branch":
        return Size(max(64.0, text_width(card.title, _TITLE, bold=True) + 56), 46.0)
    if card.kind == "choice":
        return Size(18.0, 18.0)
    title = text_width(card.title, _TITLE, bold=True) + (text_width(f"  {card.width}", _NOTE) if card.width else 0)
    lines = [text_width(line, _NOTE) for line in _notes(card)]
    if card.status is not None:
        lines.append(_status_width(card))
    bar = 6.0 if _has_bar(card) else 0.0
    stacked = 2 * _STACK if card.width else 0.0
    rounded = 16.0 if card.kind in ("approval", "signal") else 0.0
    width = max(70.0, title, *lines) + 2 * _PAD + rounded + stacked
    return Size(width, 17 + _LINE * len(lines) + 14 + bar + stacked)


def _notes(card: Card) -> list[str]:
    return [line for note in card.notes for line in wrapped(note, _COLUMNS)]


def _has_bar(card: Card) -> bool:
    return card.status is not None and card.status.total > 1


def _shown_states(status: NodeStatus) -> list[str]:
    return [state for state, _ in status.ordered()] or ["pending"]


def _status_parts(card: Card) -> list[tuple[str, str]]:
    status = card.status or NodeStatus()
    single = status.total <= 1
    return [(state, "" if single else count_text(count)) for state, count in status.ordered()] or [("pending", "")]


def _status_width(card: Card) -> float:
    counts = sum(18 + (text_width(text, _NOTE) + 8 if text else 0) for _, text in _status_parts(card))
    return counts + text_width(_status_tail(card), _NOTE)


def _status_tail(card: Card) -> str:
    status = card.status or NodeStatus()
    elapsed = "" if status.elapsed_s is None else duration_text(status.elapsed_s)
    parts = (status.state if status.total <= 1 else "", elapsed)
    return " · ".join(part for part in parts if part)


# ---- parts of the drawing


def _scopes(layout: Layout) -> Iterable[str]:
    for scope, area in layout.scopes.items():
        name = scope.rpartition("/")[2]
        yield (
            f'<rect x="{area.x:.1f}" y="{area.y:.1f}" width="{area.width:.1f}" height="{area.height:.1f}" rx="9" '
            f'fill="{_GREY}" fill-opacity="0.07" stroke="{_GREY}" stroke-opacity="0.55" stroke-dasharray="5 4">'
            f"<title>{escape(scope)}</title></rect>"
        )
        yield (
            f'<text x="{area.x + 10:.1f}" y="{area.y + 16:.1f}" font-size="{_NOTE:g}" font-weight="600" fill="{_GREY}">'
            f"{escape(name)}</text>"
        )


def _edges(shown: Picture, layout: Layout) -> Iterable[str]:
    labels: dict[tuple[str, str], list[str]] = {}
    for edge in shown.edges:
        labels.setdefault((edge.source, edge.target), []).append(edge.source + edge.label)
    guards = {(edge.source, edge.target): edge.label for edge in shown.edges if edge.guard}
    for key, points in layout.routes.items():
        dashed = ' stroke-dasharray="3 3"' if key in guards else ""
        told = escape(f"{', '.join(labels.get(key, [key[0]]))} → {key[1].rstrip('/')}")
        yield (
            f'<path d="{curve(points)}" fill="none" stroke="{_GREY}" stroke-width="1.3"{dashed}>'
            f"<title>{told}</title></path>"
        )
        x, y = points[-1]
        yield f'<path d="M{x - 3.6:.1f} {y - 7:.1f} L{x:.1f} {y:.1f} L{x + 3.6:.1f} {y - 7:.1f} Z" fill="{_GREY}"/>'
        if key in guards and not key[1].endswith("/"):
            yield (
                f'<text x="{x - 7:.1f}" y="{y - 5:.1f}" text-anchor="end" font-size="{_NOTE:g}" fill="{_GREY}">'
                f"{guards[key]}</text>"
            )


def curve(points: list[Point]) -> str:
    """Path data of a line that goes down through these points."""
    x, y = points[0]
    parts = [f"M{x:.1f} {y:.1f}"]
    for next_x, next_y in points[1:]:
        if abs(next_x - x) < 0.5 or next_y <= y:
            parts.append(f"L{next_x:.1f} {next_y:.1f}")
        else:
            middle = (y + next_y) / 2
            parts.append(f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}")
        x, y = next_x, next_y
    return " ".join(parts)


def _linked(card: Card, area: Area, link: Callable[[str], str] | None) -> Iterable[str]:
    if link is None:
        yield from _card(card, area)
        return
    yield f'<a href="{escape(link(card.key))}">'
    yield from _card(card, area)
    yield "</a>"


def _card(card: Card, area: Area) -> Iterable[str]:
    colour = LOOKS[card.status.state].colour if card.status is not None else _GREY
    told = card.key if card.status is None else f"{card.key}: {status_text(card.status, card.status.total <= 1)}"
    note = f"\n{card.status.note}" if card.status is not None and card.status.note else ""
    yield f'<g data-node="{escape(card.key)}"><title>{escape(told)}{escape(note) if note else ""}</title>'
    if card.kind == "branch":
        yield from _diamond(card, area, colour)
    elif card.kind == "choice":
        yield from _merge(area, colour)
    else:
        yield from _block(card, area, colour)
    yield "</g>"


def _merge(area: Area, colour: str) -> Iterable[str]:
    """The small circle where two branches come together."""
    x, y, radius = area.x + area.width / 2, area.y + area.height / 2, area.width / 2 - 1
    frame = f'r="{radius:.1f}" fill="{_GROUND}" stroke="{colour}" stroke-width="1.5"'
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" {frame}/>'
    points = f"M{x - 3.5:.1f} {y - 3:.1f} L{x:.1f} {y + 3.5:.1f} L{x + 3.5:.1f} {y - 3:.1f}"
    yield f'<path d="{points}" fill="none" stroke="{_FAINT}"/>'


def _diamond(card: Card, area: Area, colour: str) -> Iterable[str]:
    x, y, w, h = area
    left, right = f"{x:.1f} {y + h / 2:.1f}", f"{x + w:.1f} {y + h / 2:.1f}"
    top, bottom = f"{x + w / 2:.1f} {y:.1f}", f"{x + w / 2:.1f} {y + h:.1f}"
    yield (
        f'<path d="M{top} L{right} L{bottom} L{left} Z" fill="{_GROUND}" stroke="{colour}" stroke-width="1.5" '
        'stroke-linejoin="round"/>'
    )
    yield (
        f'<text x="{x + w / 2:.1f}" y="{y + h / 2 + 4.5:.1f}" text-anchor="middle" font-size="{_TITLE:g}" '
        f'font-weight="600" fill="{_INK}">{escape(card.title)}</text>'
    )


def _block(card: Card, area: Area, colour: str) -> Iterable[str]:
    stack = 2 * _STACK if card.width else 0.0
    x, y, w, h = area.x, area.y, area.width - stack, area.height - stack
    radius = h / 2 if card.kind in ("approval", "signal") else 7.0
    radius = min(radius, 20.0)
    size = f'width="{w:.1f}" height="{h:.1f}"'
    frame = f'rx="{radius:g}" fill="{_GROUND}" stroke="{colour}"'
    for offset in (2 * _STACK, _STACK) if card.width else ():
        yield f'<rect x="{x + offset:.1f}" y="{y + offset:.1f}" {size} {frame} stroke-width="1"/>'
    yield f'<rect x="{x:.1f}" y="{y:.1f}" {size} {frame} stroke-width="1.5"/>'
    if card.kind == "dynamic":
        yield (
            f'<rect x="{x + 3:.1f}" y="{y + 3:.1f}" width="{w - 6:.1f}" height="{h - 6:.1f}" rx="5" fill="none" '
            f'stroke="{colour}" stroke-width="0.8"/>'
        )
    left = x + _PAD + (8 if card.kind in ("approval", "signal") else 0)
    line = y + 21
    title = escape(card.title)
    if card.width:
        title += f'<tspan dx="7" font-size="{_NOTE:g}" font-weight="400" fill="{_FAINT}">{escape(card.width)}</tspan>'
    yield (f'<text x="{left:.1f}" y="{line:.1f}" font-size="{_TITLE:g}" font-weight="600" fill="{_INK}">{title}</text>')
    for note in _notes(card):
        line += _LINE
        yield f'<text x="{left:.1f}" y="{line:.1f}" font-size="{_NOTE:g}" fill="{_FAINT}">{escape(note)}</text>'
    if card.status is not None:
        yield from _status_line(card, left, line + _LINE)
    if _has_bar(card):
        yield from _bar(card, Area(left, y + h - 11, w - 2 * (left - x), 4.0))


def _status_line(card: Card, x: float, y: float) -> Iterable[str]:
    for state, text in _status_parts(card):
        yield _icon(state, x, y - 10)
        x += 16
        if text:
            yield f'<text x="{x:.1f}" y="{y:.1f}" font-size="{_NOTE:g}" fill="{_INK}">{text}</text>'
            x += text_width(text, _NOTE) + 8
    yield f'<text x="{x:.1f}" y="{y:.1f}" font-size="{_NOTE:g}" fill="{_FAINT}">{escape(_status_tail(card))}</text>'


def _icon(state: str, x: float, y: float) -> str:
    look = LOOKS[state]
    return (
        f'<path transform="translate({x:.1f} {y:.1f})" d="{look.icon}" fill="none" stroke="{look.colour}" '
        'stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"/>'
    )


def _bar(card: Card, area: Area) -> Iterable[str]:
    """Shares of the states of a node's steps; every state that occurs can be seen."""
    status = card.status or NodeStatus()
    states = filling(status.ordered())
    least = 3.0
    scale = (area.width - least * len(states)) / status.total
    x = area.x
    for state, count in states:
        width = least + count * scale
        place = f'x="{x:.1f}" y="{area.y:.1f}" width="{width:.1f}" height="{area.height:g}"'
        yield f'<rect {place} fill="{LOOKS[state].colour}"/>'
        x += width


def _result(shown: Picture, layout: Layout) -> Iterable[str]:
    if not shown.results:
        return
    x, y, w, h = layout.cards[RESULT]
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{h / 2:g}" fill="{_GREY}"/>'
    look = f'text-anchor="middle" font-size="{_NOTE:g}" font-weight="600" fill="#ffffff"'
    yield f'<text x="{x + w / 2:.1f}" y="{y + h / 2 + 4:.1f}" {look}>result</text>'


def _legend(states: list[str], y: float) -> tuple[list[str], float]:
    lines: list[str] = []
    x = 0.0
    for state in states:
        lines.append(_icon(state, x, y))
        lines.append(f'<text x="{x + 17:.1f}" y="{y + 10:.1f}" font-size="{_NOTE:g}" fill="{_GREY}">{state}</text>')
        x += 17 + text_width(state, _NOTE) + 18
    return lines, x
