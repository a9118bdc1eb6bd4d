"""Lineage as a drawing: what each thing is, is told by its shape, a word and a colour; runs are boxes around theirs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from orchestrator.readers.lineage import Edge, Lineage, Vertex
from orchestrator.views.layout import Area, Leaf, Size, lay_out
from orchestrator.views.lettering import FAMILY, escape, text_width
from orchestrator.views.status import LOOKS
from orchestrator.views.svg import MARGIN, curve

_TITLE, _NOTE, _PAD, _LINE = 13.0, 11.0, 12.0, 15.0
_GREY, _INK, _FAINT, _GROUND = "#7d8899", "#1c2430", "#5b6675", "#f6f8fb"
_MOST_CHARS = 42


class _Kind(NamedTuple):
    word: str
    colour: str


KINDS: Mapping[str, _Kind] = {
    "file": _Kind("file", "#8a6d00"),
    "data": _Kind("data set", "#0072b2"),
    "code": _Kind("code", "#6b5b73"),
    "step": _Kind("step", "#7d8899"),
    "model": _Kind("model", "#b5179e"),
    "deployment": _Kind("deployment", "#c44601"),
}
"""What vertices are, in the order in which a legend tells it."""

_DASHES = {"data": "", "code": "2 3", "decides": "6 4"}
_TOLD = {"data": "came of it", "code": "is the code of", "decides": "decided on"}


def lineage_svg(shown: Lineage, focus: Collection[str] = (), link: Callable[[Vertex], str] | None = None) -> str:
    """Draw a lineage; what is in ``focus`` has a thick edge, and ``link`` names the page of a vertex."""
    leaves = [Leaf(one.key, (one.run,) if one.run else (), _size(one)) for one in _ordered(shown)]
    routes: dict[tuple[str, str], Edge] = {(edge.source, edge.target): edge for edge in shown.edges}
    layout = lay_out(leaves, list(routes))
    body = [*(line for run, area in layout.scopes.items() for line in _scope(run, area))]
    for wire, points in layout.routes.items():
        body += _edge(routes[wire], curve(points), points[-1])
    for vertex in shown.vertices.values():
        drawn = list(_vertex(vertex, layout.cards[vertex.key], vertex.key in focus))
        there = link(vertex) if link is not None else ""
        body += [f'<a href="{escape(there)}">', *drawn, "</a>"] if there else drawn
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    title, role = "What came from what", "img" if link is None else "group"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="{role}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FAMILY}"><title>{title}</title>\n'
        f'<g transform="translate({MARGIN:g} {MARGIN:g})">\n' + "\n".join(body) + "\n</g>\n</svg>\n"
    )


def _ordered(shown: Lineage) -> list[Vertex]:
    """Each behind what it came from, with those of one run together, as far as that is possible."""
    box = {key: vertex.run or key for key, vertex in shown.vertices.items()}
    boxes = _sorted(dict.fromkeys(box.values()), [(box[one.source], box[one.target]) for one in shown.edges])
    place = {name: at for at, name in enumerate(boxes)}
    keys = _sorted(shown.vertices, [(one.source, one.target) for one in shown.edges])
    return [shown.vertices[key] for key in sorted(keys, key=lambda key: place[box[key]])]


def _sorted(names: Iterable[str], wires: Iterable[tuple[str, str]]) -> list[str]:
    """Names behind those that lead to them; what goes in a circle stays in its order."""
    before: dict[str, set[str]] = {name: set() for name in names}
    for source, target in wires:
        if source != target:
            before[target].add(source)
    found: list[str] = []
    while before:
        free = [name for name, sources in before.items() if not sources] or [next(iter(before))]
        for name in free:
            del before[name]
        for sources in before.values():
            sources.difference_update(free)
        found += free
    return found


def _size(vertex: Vertex) -> Size:
    title = text_width(_cut(vertex.title), _TITLE, bold=True)
    lines = [text_width(line, _NOTE) for line in _lines(vertex)]
    icon = 18.0 if vertex.state in LOOKS else 0.0
    return Size(max(title + icon, *lines, 90.0) + 2 * _PAD + 6, 29.0 + _LINE * len(lines))


def _lines(vertex: Vertex) -> list[str]:
    """The word for what it is, then what is known of it."""
    columns = f"{len(vertex.columns)} columns" if vertex.columns else ""
    return [KINDS[vertex.kind].word, *(_beginning(note) for note in (*vertex.notes, columns) if note)][:4]


def _beginning(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1].rstrip('…')}…"


def _cut(text: str) -> str:
    """Both ends of a text that is too long: paths and names tell themselves apart by their end."""
    if len(text) <= _MOST_CHARS:
        return text
    return f"{text[: _MOST_CHARS // 3]}…{text[-(_MOST_CHARS - _MOST_CHARS // 3 - 1) :]}"


def _scope(run: str, area: Area) -> Iterator[str]:
    yield (
        f'<rect x="{area.x:.1f}" y="{area.y:.1f}" width="{area.width:.1f}" height="{area.height:.1f}" rx="10" '
        f'fill="none" stroke="{_GREY}" stroke-opacity="0.55" stroke-dasharray="5 4"><title>{escape(run)}</title></rect>'
    )
    yield (
        f'<text x="{area.x + 10:.1f}" y="{area.y + 16:.1f}" font-size="{_NOTE:g}" font-weight="600" fill="{_GREY}">'
        f"{escape(run)}</text>"
    )


def _edge(edge: Edge, path: str, end: tuple[float, float]) -> Iterator[str]:
    dashes = f' stroke-dasharray="{_DASHES[edge.kind]}"' if _DASHES[edge.kind] else ""
    x, y = end
    yield (
        f'<path d="{path}" fill="none" stroke="{_GREY}" stroke-width="1.3"{dashes}>'
        f"<title>{escape(edge.source)} → {escape(edge.target)}: {_TOLD[edge.kind]}</title></path>"
    )
    yield f'<path d="M{x - 3.6:.1f} {y - 7:.1f} L{x:.1f} {y:.1f} L{x + 3.6:.1f} {y - 7:.1f} Z" fill="{_GREY}"/>'


def _vertex(vertex: Vertex, area: Area, chosen: bool) -> Iterator[str]:
    told = "\n".join([vertex.title, KINDS[vertex.kind].word, vertex.state, *vertex.notes])
    yield f'<g data-vertex="{escape(vertex.key)}"><title>{escape(told)}</title>'
    colour = KINDS[vertex.kind].colour
    look = f'fill="{_GROUND}" stroke="{colour}" stroke-width="{3 if chosen else 1.5}" stroke-linejoin="round"'
    yield from _shape(vertex.kind, area, look)
    x, y = area.x + _PAD + 3, area.y + 21
    if vertex.state in LOOKS:
        icon = LOOKS[vertex.state]
        yield (
            f'<path transform="translate({x:.1f} {y - 10:.1f})" d="{icon.icon}" fill="none" stroke="{icon.colour}" '
            'stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"/>'
        )
    indent = 18 if vertex.state in LOOKS else 0
    yield (
        f'<text x="{x + indent:.1f}" y="{y:.1f}" font-size="{_TITLE:g}" font-weight="600" fill="{_INK}">'
        f"{escape(_cut(vertex.title))}</text>"
    )
    for number, line in enumerate(_lines(vertex), 1):
        style = f'fill="{_FAINT}"' + (' font-style="italic"' if number == 1 else "")
        yield f'<text x="{x:.1f}" y="{y + _LINE * number:.1f}" font-size="{_NOTE:g}" {style}>{escape(line)}</text>'
    yield "</g>"


def _shape(kind: str, area: Area, look: str) -> Iterator[str]:
    """A sheet for a file, a drum for data, a tag for code, a box with round ends for what answers requests."""
    x, y, w, h = area
    if kind == "file":
        yield f'<path d="M{x} {y} H{x + w - 12:.1f} L{x + w:.1f} {y + 12:.1f} V{y + h:.1f} H{x} Z" {look}/>'
        yield f'<path d="M{x + w - 12:.1f} {y} V{y + 12:.1f} H{x + w:.1f}" {look}/>'
    elif kind == "data":
        right, bow = x + w, 7
        lid = f"C{x:.1f} {y - bow / 2:.1f} {right:.1f} {y - bow / 2:.1f} {right:.1f} {y + bow:.1f}"
        foot, base = y + h - bow, y + h + bow / 2
        bottom = f"C{right:.1f} {base:.1f} {x:.1f} {base:.1f} {x:.1f} {foot:.1f}"
        yield f'<path d="M{x:.1f} {y + bow:.1f} {lid} V{foot:.1f} {bottom} Z" {look}/>'
    elif kind == "code":
        yield (
            f'<path d="M{x + 9:.1f} {y} H{x + w - 9:.1f} L{x + w:.1f} {y + h / 2:.1f} L{x + w - 9:.1f} {y + h:.1f} '
            f'H{x + 9:.1f} L{x} {y + h / 2:.1f} Z" {look}/>'
        )
    else:
        radius = {"model": 3.0, "deployment": min(h / 2, 22.0)}.get(kind, 8.0)
        yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius:g}" {look}/>'
        if kind == "model":
            yield (
                f'<rect x="{x + 3:.1f}" y="{y + 3:.1f}" width="{w - 6:.1f}" height="{h - 6:.1f}" rx="2" fill="none" '
                f'stroke="{KINDS[kind].colour}" stroke-width="0.8"/>'
            )
