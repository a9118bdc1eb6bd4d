"""A stored value as a fragment of HTML: a table, a picture, plain data, or what the worker said of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.artifacts.preview import Image, Preview, TableHead
from orchestrator.views.lettering import escape
from orchestrator.views.markup import Cell, Markup, Number, escape_lines, paragraph, table
from orchestrator.views.status import size_text

_IMAGE_BYTES = 2 * 1024 * 1024
_DATA_CHARS = 6000
_ROWS = 12


@dataclass(frozen=True, slots=True)
class ValueView:
    """A stored value, as far as it is drawn.

    Attributes:
        type: Name of its class; ``size`` and ``digest`` are of its stored bytes.
        preview: A few characters that the worker sent along.
        found: What can be seen of it without running code; None where it cannot be read.
        parts: Name, type and preview of each part of a container.
        note: Why it cannot be read.
    """

    type: str
    size: int
    digest: str
    preview: str
    found: Preview | None = None
    parts: Sequence[tuple[str, str, str]] = ()
    note: str = ""


def value_html(view: ValueView) -> str:
    """What a value looks like."""
    kind = view.type.rpartition(":")[2] or view.type
    digest = f" · {view.digest[:12]}" if view.digest else ""
    said = paragraph(f"{kind}, {size_text(view.size)}{digest}", soft=True)
    return f"{said}{_content(view)}{paragraph(view.note)}"


def _content(view: ValueView) -> str:
    found = view.found
    if found is None or found.kind == "described":
        shown = f"<pre>{escape_lines(view.preview)}</pre>" if view.preview else ""
        return shown + (paragraph(found.note, soft=True) if found else "")
    if found.table is not None:
        return _table(found.table)
    if found.image is not None:
        return _image(found.image, view.preview)
    if view.parts:
        rows: list[tuple[Cell, ...]] = [
            (name, kind.rpartition(":")[2], Markup(f"<code>{escape(seen)}</code>")) for name, kind, seen in view.parts
        ]
        return table(("part", "type", "looks like"), rows) + paragraph(found.note, soft=True)
    return f"<pre>{escape_lines(_json(found.value))}</pre>" + paragraph(found.note, soft=True)


def _table(head: TableHead) -> str:
    rows: list[list[Cell]] = [
        [Number(cell) if _is_number(kind) else cell for cell, (_, kind) in zip(row, head.columns, strict=True)]
        for row in head.rows[:_ROWS]
    ]
    shown = f"; the first {len(rows)}" if len(rows) < head.rows_total else ""
    columns = f"{head.columns_total:,} columns" if head.columns_total != 1 else "1 column"
    caption = f"{head.rows_total:,} rows × {columns}{shown}"
    titles = [name for name, _ in head.columns]
    if rows:
        return table(titles, rows, caption, named=False)
    return paragraph(f"{caption}: {', '.join(f'{name} ({kind})' for name, kind in head.columns)}")


def _is_number(kind: str) -> bool:
    return kind.startswith(("int", "uint", "float", "double", "halffloat", "decimal"))


def _image(image: Image, said: str) -> str:
    if len(image.data) > _IMAGE_BYTES:
        return paragraph(f"a picture of {size_text(len(image.data))}; too large to be shown here", soft=True)
    data = base64.b64encode(image.data).decode()
    return f'<p><img alt="{escape(said or "picture")}" src="data:{escape(image.media_type)};base64,{data}"></p>'


def _json(value: object) -> str:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    short = json.dumps(value, ensure_ascii=False)
    text = short if len(short) <= 100 else text
    return text if len(text) <= _DATA_CHARS else f"{text[:_DATA_CHARS]}\n… {len(text) - _DATA_CHARS:,} characters more"
