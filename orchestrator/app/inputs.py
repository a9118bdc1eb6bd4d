"""What a run was given, from its record: the values of its parameters, and the versions of the files it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.errors import ConfigError, NotFound, StoreUnavailable
from orchestrator.graph.json import seal
from orchestrator.graph.node import Const, DictExpr, Expr, Graph, ListExpr, Node
from orchestrator.graph.secret import Secret
from orchestrator.graph.version import VersionInput, parse_version
from orchestrator.ports.values import Cell, decode_cell

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

LARGEST_BYTES = 2**30
"""Local files and folders above this are not read just to put their digest on record."""

MISSING = "missing"
"""In the place of a version: there was no such file."""


class ChangedFile(NamedTuple):
    """A file that is not what it was; versions are digests, etags, or ``missing``."""

    path: str
    recorded: str
    now: str

    def __str__(self) -> str:
        return f"file {self.path} changed: it was {self.recorded[:12]}, is {self.now[:12]}"


def file_versions(here: Installation, graph: Graph) -> dict[str, str]:
    """Version of each file that a constant argument of a sealed graph names, as far as it can be told cheaply."""
    found: dict[str, str] = {}
    for node in graph.nodes:
        if node.stage is not None and node.stage.files:
            for path in _paths(here, node):
                if path not in found:
                    found[path] = _version(here, path)
    return {path: version for path, version in found.items() if version}


def seal_inputs(
    here: Installation, graph: Graph, settled: Mapping[str, str] | None = None
) -> tuple[Graph, dict[str, str]]:
    """A graph with its constants encoded, and what each version that it asks for is: ``data:flights@v3``.

    Args:
        settled: Versions that are settled already, by what the pipeline asks for; the others are looked up now.

    Raises:
        NotFound: there is no such version.
    """
    found: dict[str, str] = {}

    def encode(value: object) -> bytes:
        if not isinstance(value, VersionInput):
            return here.values.encode(value)
        asked = str(value.address)
        version = here.registry.find(parse_version((settled or {}).get(asked, asked)))
        found[asked] = version.address
        return version.cell

    return seal(graph, encode), found


def changed_files(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[ChangedFile]:
    """Files of which both versions are known and differ."""
    return [ChangedFile(path, was, now[path]) for path, was in recorded.items() if now.get(path, was) != was]


def readers_of(here: Installation, graph: Graph, files: list[ChangedFile]) -> dict[str, str]:
    """Nodes of a sealed graph that read one of these files, with what to say about it."""
    changed = {file.path: str(file) for file in files}
    nodes = [node for node in graph.nodes if changed and node.stage is not None and node.stage.files]
    return {node.id: changed[path] for node in nodes for path in _paths(here, node) if path in changed}


def recorded_params(here: Installation, graph: Graph) -> dict[str, Any]:
    """Values of a run's parameters, defaults included, loaded in this process; secrets stay references."""
    return {name: _value(here, expr) for name, expr in graph.params.items()}


def _value(here: Installation, expr: Expr) -> Any:
    match expr:
        case Const(cell=cell):
            return here.values.load(decode_cell(cell or b"\xc0")).value
        case ListExpr(items=items, is_tuple=is_tuple):
            values = [_value(here, item) for item in items]
            return tuple(values) if is_tuple else values
        case DictExpr(items=named):
            return {key: _value(here, item) for key, item in named.items()}
        case _:  # a parameter is never the result of a step
            return Secret(getattr(expr, "reference", ""))


def _paths(here: Installation, node: Node) -> Iterator[str]:
    """Paths that stand in the graph; those that steps make are not known before they run."""
    assert node.stage is not None
    for name in node.stage.files:
        expr = node.args.get(name)
        for one in expr.items if isinstance(expr, ListExpr) else (expr,):
            if isinstance(one, Const) and one.cell is not None:
                cell = decode_cell(one.cell)
                several: list[Cell] = [cell] if isinstance(cell, str) else here.values.items(cell) or []
                yield from (path for path in several if isinstance(path, str))


def _version(here: Installation, path: str) -> str:
    try:
        return "" if _is_large(path) else here.files.version(path)
    except NotFound:
        return MISSING
    except (ConfigError, StoreUnavailable):
        return ""  # the step that reads it says what is wrong with it


def _is_large(path: str) -> bool:
    if "://" in path:
        return False
    place, total = Path(path).expanduser(), 0
    try:
        for file in place.rglob("*") if place.is_dir() else [place]:
            total += file.stat().st_size
            if total > LARGEST_BYTES:
                return True
    except OSError:
        return False
    return False
