"""What stored values look like without running anybody's code."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image as Pillow

from orchestrator.artifacts.codecs.parquet import Parquet
from orchestrator.artifacts.preview import Preview, part, png, preview
from orchestrator.artifacts.signing import Signer
from orchestrator.artifacts.store import open_store
from orchestrator.artifacts.values import StoredValues
from orchestrator.errors import ArtifactCorrupt, ArtifactUnreadable
from orchestrator.ports.values import Entry, decode_cell

OPENED: list[int] = []


class Trap:
    def __reduce__(self) -> Any:
        return OPENED.append, (1,)


@dataclass
class Pair:
    left: Any
    right: Any


@pytest.fixture
def values(tmp_path: Path) -> StoredValues:
    return StoredValues(open_store(f"file://{tmp_path / 'store'}"), Signer(tmp_path / "keys"))


def shown(values: StoredValues, value: object) -> Preview:
    return preview(values.store, decode_cell(values.encode(value)))


TABLE = pa.table({"n": list(range(200)), "text": ["x" * 300] * 200, "none": [None] * 200, "vector": [[1.0, 2.0]] * 200})


@pytest.mark.parametrize(
    "value",
    [TABLE, TABLE.to_batches()[0], TABLE.select(["n", "text"]).to_pandas(), Parquet(TABLE.select(["n", "text"]))],
    ids=lambda v: type(v).__name__,
)
def test_tables_show_their_first_rows(values: StoredValues, value: object) -> None:
    found = shown(values, value)
    assert found.kind == "table"
    assert found.table is not None
    assert (found.table.rows_total, len(found.table.rows), found.table.columns[0]) == (200, 50, ("n", "int64"))
    assert found.table.rows[7][0] == "7"
    assert len(found.table.rows[7][1]) == 120
    assert shown(values, TABLE.slice(0, 0)).table is not None


def test_plain_data_is_what_json_can_hold(values: StoredValues) -> None:
    value = {"a": [1, float("inf"), None, True, b"bytes"], "deep": [[[[[[[1]]]]]]], "long": list(range(500))}
    found = shown(values, value)
    assert found.value["a"] == [1, {"$float": "inf"}, None, True, {"$bytes": 5}]
    assert found.value["deep"] == [[[[[{"$more": 1}]]]]]
    assert found.value["long"][-1] == {"$more": 300}
    assert shown(values, 3).value == 3
    assert shown(values, "x" * 100_000).value.endswith("(100,000 characters)")


def test_pictures(values: StoredValues) -> None:
    colours = np.random.default_rng(1).integers(0, 255, (40, 30, 3), np.uint8)
    for array in (colours, colours[:, :, 0].copy(), colours[:, :, 0] > 9):
        found = shown(values, array)
        assert found.image is not None
        read = np.asarray(Pillow.open(io.BytesIO(found.image.data)))
        assert (read == array.astype(np.uint8) * (255 if array.dtype == bool else 1)).all()
    wide = shown(values, np.zeros((10, 5000), np.uint8)).image
    assert wide is not None
    assert Pillow.open(io.BytesIO(wide.data)).size == (500, 1)
    kept = shown(values, png(colours)).image
    assert kept is not None
    assert kept.media_type == "image/png"
    assert shown(values, b"<svg onload='alert(1)'/>").kind == "data"  # only formats without scripts are pictures


def test_arrays(values: StoredValues) -> None:
    found = shown(values, np.arange(300.0).reshape(100, 3)).table
    assert found is not None
    assert (found.rows[1], found.rows_total) == (["3", "4", "5"], 100)
    assert shown(values, np.zeros((2, 2, 2, 2))).kind == "described"


def test_pickles_stay_closed_wherever_they_are(values: StoredValues) -> None:
    whole = decode_cell(values.encode(Pair([1, 2], Trap())))
    found = preview(values.store, whole)
    assert [name for name, _ in found.parts] == ["left", "right"]
    trap = part(values.store, whole, ["right"])
    assert trap is not None
    assert preview(values.store, trap).kind == "described"
    assert preview(values.store, decode_cell(values.encode(pd.Series([Trap()])))).kind == "described"
    assert part(values.store, whole, ["no"]) is None
    assert part(values.store, whole, ["left", "0", "0"]) is None
    assert OPENED == []


def test_bytes_that_are_not_what_they_say(values: StoredValues, tmp_path: Path) -> None:
    cell = decode_cell(values.encode(TABLE))
    assert isinstance(cell, Entry)
    for codec in ("arrow", "pandas", "parquet", "npy", "msgpack", "list"):
        with pytest.raises(ArtifactUnreadable, match=codec):
            preview(values.store, Entry(codec, "x:Y", 3, "0" * 64, None, None, "", b"\xc1not"))
    file = next(path for path in (tmp_path / "store").rglob("*") if path.stat().st_size > 9_000)
    file.chmod(0o600)
    file.write_bytes(b"other")
    with pytest.raises(ArtifactCorrupt):
        preview(values.store, cell)
