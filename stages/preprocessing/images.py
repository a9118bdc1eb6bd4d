"""Images to arrays of one shape: decoded from bytes or files, turned upright, scaled; broken ones are kept apart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import require_choice, require_columns, set_column
from stages.errors import DataRejected
from stages.quality.rule import rows_at

MOST_PIXELS = 50_000_000
"""An image that claims more is not decoded: a file of some kilobytes may stand for gigabytes."""

_CHANNELS = {"grey": 1, "rgb": 3}


@dataclass(frozen=True)
class DecodedImages:
    """Images as arrays.

    Attributes:
        table: The rows whose image could be decoded, with ``name`` a fixed-size list of uint8: rows of pixels from the
            top, channels last.
        failed: The other rows, their position in ``__row__`` and what is wrong in ``__reason__``.
        shape: Height, width and channels.
    """

    table: pa.Table
    failed: pa.Table
    shape: list[int]


@stage(cache="30d", timeout="1h")
def decode_images(
    table: pa.Table,
    column: str,
    size: Sequence[int] = (32, 32),
    colours: Literal["grey", "rgb"] = "grey",
    name: str = "pixels",
    broken: Literal["error", "drop"] = "error",
    most_pixels: int = MOST_PIXELS,
) -> DecodedImages:
    """Decode one image a row, in any format that Pillow knows; only the first picture of a file is taken.

    Args:
        column: Bytes of images, or paths or fsspec URLs of files.
        size: Height and width that every image is scaled to, whatever its own proportions.
        name: Column of the arrays; takes the place of one of that name.
        broken: Whether an image that cannot be read or decoded is an error, or its row is left out and kept in
            ``failed``. A missing one is broken too.
        most_pixels: Larger images are broken.

    Raises:
        NotFound: the column is missing.
        DataRejected: it holds neither bytes nor text, or an image is broken; names rows and files.
        ConfigError: a parameter makes no sense, or Pillow is missing.
    """
    require_choice(colours, _CHANNELS, "The colours of images")
    require_choice(broken, ("error", "drop"), "broken")
    if len(size) != 2 or not all(isinstance(side, int) and 0 < side <= 4096 for side in size):
        raise ConfigError(f"The size of images is height and width of 1 to 4096 pixels, not {size!r}")
    where = "The table given to decode_images"
    require_columns(table.column_names, [column], where)
    kind = table.schema.field(column).type
    if not any(fits(kind) for fits in (pa.types.is_string, pa.types.is_large_string, *_BINARY)):
        raise DataRejected(f"Column {column!r} holds {kind}; bytes of images or paths are needed here.", column=column)
    decoder = _Decoder((size[0], size[1]), colours, most_pixels)
    arrays: list[Any] = []
    reasons: dict[int, str] = {}
    for row, value in enumerate(_values(table.column(column))):
        try:
            arrays.append(decoder.decode(value))
        except _Broken as error:
            reasons[row] = str(error)
    if reasons and broken == "error":
        raise _rejected(table.num_rows, column, reasons)
    good = table.take(pa.array([row for row in range(table.num_rows) if row not in reasons], pa.int64()))
    width = size[0] * size[1] * _CHANNELS[colours]
    flat = pa.array(np.concatenate(arrays) if arrays else np.empty(0, dtype=np.uint8), pa.uint8())
    pixels = pa.FixedSizeListArray.from_arrays(flat, width)
    failed = rows_at(table, list(reasons)).append_column("__reason__", pa.array(list(reasons.values()), pa.string()))
    return DecodedImages(set_column(good, name, pixels), failed, [*size, _CHANNELS[colours]])


_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


class _Broken(Exception):
    """Why an image cannot be decoded."""


def _values(column: Any) -> Any:
    """One after the other, so that a table of files is never in memory as a whole."""
    for value in column:
        yield value.as_py()


def _rejected(rows: int, column: str, reasons: dict[int, str]) -> DataRejected:
    told = "; ".join(f"row {row}: {reason}" for row, reason in list(reasons.items())[:5])
    more = "" if len(reasons) <= 5 else "; …"
    return DataRejected(
        f"Column {column!r}: {len(reasons)} of {rows} images cannot be decoded: {told}{more}. Mend them, or pass "
        "broken='drop' to go on without their rows and keep these apart.",
        column=column,
        rows=list(reasons)[:5],
    )


class _Decoder:
    """Decodes to one shape."""

    def __init__(self, size: tuple[int, int], colours: Literal["grey", "rgb"], most_pixels: int) -> None:
        try:
            from PIL import Image, ImageOps
        except ImportError as error:
            raise ConfigError(
                f"Pillow cannot be imported ({error}); install: pip install 'ray-orchestrator[images]'"
            ) from None
        self._image, self._ops = Image, ImageOps
        self._size = size
        self._mode = "L" if colours == "grey" else "RGB"
        self._most_pixels = most_pixels

    def decode(self, value: bytes | str | None) -> Any:
        """An image as uint8, shape (height × width × channels,); raises _Broken."""
        if value is None:
            raise _Broken("there is none")
        name = f"{value}: " if isinstance(value, str) else ""
        data = _content(value) if isinstance(value, str) else value
        try:
            with self._image.open(io.BytesIO(data)) as image:
                if image.width * image.height > self._most_pixels:
                    raise _Broken(f"{name}{image.width} × {image.height} pixels are too many")
                upright = self._ops.exif_transpose(image).convert(self._mode)
        except _Broken:
            raise
        except Exception as error:  # each of Pillow's formats has errors of its own
            reason = str(error).partition("<")[0].strip()  # what follows would be an address in memory
            raise _Broken(f"{name}{type(error).__name__}: {reason[:120]}") from None
        height, width = self._size
        return np.asarray(upright.resize((width, height), self._image.Resampling.BILINEAR), dtype=np.uint8).reshape(-1)


def _content(path: str) -> bytes:
    from stages.ingestion.contents import content_of

    try:
        return content_of(path)
    except OSError as error:
        raise _Broken(f"{path}: {type(error).__name__}") from None
