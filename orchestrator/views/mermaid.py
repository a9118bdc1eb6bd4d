"""A graph as Mermaid text, for Markdown files, wikis and pull requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.graph.node import Graph
from orchestrator.views.cards import Card, Picture, picture, scopes_of, status_text
from orchestrator.views.status import LOOKS, NodeStatus

_SHAPES = {
    "stage": ("[", "]"),
    "dynamic": ("[[", "]]"),
    "approval": ("([", "])"),
    "signal": ("([", "])"),
    "branch": ("{", "}"),
    "choice": ("((", "))"),
    "pack": ("(", ")"),
}


def graph_mermaid(graph: Graph, status: Mapping[str, NodeStatus] | None = None) -> str:
    """Mermaid flowchart of a graph; with ``status`` (by node id), of a run of it."""
    shown = picture(graph, status)
    names = {card.key: f"n{position}" for position, card in enumerate(shown.cards)}
    scopes = {scope: None for card in shown.cards for scope in scopes_of(card)}
    names.update({f"{scope}/": f"s{position}" for position, scope in enumerate(scopes)})
    lines = ["flowchart TD"]
    lines += _scope_lines(shown, names, "", list(scopes), 1)
    for edge in shown.edges:
        arrow = f"-. {edge.label} .->" if edge.guard else (f'-->|"{_quoted(edge.label)}"|' if edge.label else "-->")
        lines.append(f"    {names[edge.source]} {arrow} {names[edge.target]}")
    if shown.results:
        lines.append("    result([result])")
        lines += [f"    {names[source]} --> result" for source in shown.results]
    lines += _classes(shown, names)
    return "\n".join(lines) + "\n"


def _scope_lines(shown: Picture, names: Mapping[str, str], scope: str, scopes: list[str], depth: int) -> Iterable[str]:
    indent = "    " * depth
    for card in shown.cards:
        if card.scope == scope:
            left, right = _SHAPES[card.kind]
            yield f'{indent}{names[card.key]}{left}"{_label(card)}"{right}'
    for inner in scopes:
        if inner.rpartition("/")[0] == scope and inner != scope:
            yield f'{indent}subgraph {names[f"{inner}/"]}["{_quoted(inner.rpartition("/")[2])}"]'
            yield from _scope_lines(shown, names, inner, scopes, depth + 1)
            yield f"{indent}end"


def _label(card: Card) -> str:
    if card.kind == "choice":
        return " "
    lines = [f"{card.title} {card.width}".strip(), *card.notes]
    if card.status is not None:
        glyphs = " ".join(LOOKS[state].glyph for state, _ in card.status.ordered()) or LOOKS["pending"].glyph
        lines.append(f"{glyphs} {status_text(card.status, card.status.total <= 1)}")
    return "<br/>".join(_quoted(line) for line in lines)


def _quoted(text: str) -> str:
    """Text inside a quoted label: Mermaid has entity codes for what it would read as its own."""
    safe = "".join(character if character >= " " else " " for character in text)
    for character, code in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        safe = safe.replace(character, code)
    return safe


def _classes(shown: Picture, names: Mapping[str, str]) -> Iterable[str]:
    for state, look in LOOKS.items():
        members = [names[card.key] for card in shown.cards if card.status is not None and card.status.state == state]
        if members:
            yield f"    classDef {state} stroke:{look.colour},stroke-width:2px"
            yield f"    class {','.join(members)} {state}"
