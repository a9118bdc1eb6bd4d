"""Outputs of steps as documents and pictures; nothing that could run code is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast
from urllib.parse import quote, urlencode

from orchestrator.api import schemas as s
from orchestrator.api.place import Place
from orchestrator.app.record import RunRecord
from orchestrator.artifacts.preview import Image, TableHead, preview
from orchestrator.errors import NotFound
from orchestrator.ports.values import Cell, Entry, describe


def output_of(place: Place, record: RunRecord, address: str, path: Sequence[str]) -> s.Output:
    """What a step gave, or a part of it."""
    state, index = record.find(address)
    cell = place.cell(record, state, index, path)
    seen, found = describe(cell), preview(place.here.artifacts, cell)
    return s.Output(
        kind=cast(Literal["data", "table", "image", "parts", "described"], found.kind),
        type=seen.type,
        size=seen.size,
        length=seen.length,
        digest=cell.digest if isinstance(cell, Entry) else None,
        preview=seen.preview,
        value=found.value,
        table=_table(found.table),
        image_url=image_url(record.row.id, address, path) if found.image else None,
        parts=[_part(name, child, path) for name, child in found.parts],
        note=found.note,
    )


def image_of(place: Place, record: RunRecord, address: str, path: Sequence[str]) -> Image:
    """The picture that a step gave; raises NotFound if it gave none."""
    state, index = record.find(address)
    found = preview(place.here.artifacts, place.cell(record, state, index, path))
    if found.image is None:
        raise NotFound(f"run {record.row.id}: the output of {address} is no picture")
    return found.image


def image_url(run: str, address: str, path: Sequence[str]) -> str:
    """Where the picture is."""
    asked = f"?{urlencode([('part', name) for name in path])}" if path else ""
    return f"/api/v1/runs/{quote(run, safe='')}/images/{quote(address)}{asked}"


def _table(head: TableHead | None) -> s.Table | None:
    if head is None:
        return None
    columns = [s.Column(name=name, type=kind) for name, kind in head.columns]
    rows = [list(row) for row in head.rows]
    return s.Table(columns=columns, rows=rows, rows_total=head.rows_total, columns_total=head.columns_total)


def _part(name: str, cell: Cell, path: Sequence[str]) -> s.Part:
    seen = describe(cell)
    query = urlencode([("part", one) for one in (*path, name)])
    return s.Part(name=name, type=seen.type, size=seen.size, preview=seen.preview, path=query)
