"""Cells for kept failures, as the driver makes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from orchestrator.artifacts import StoredValues, item_error_cell, item_error_chunk
from orchestrator.graph.fact import Failure
from orchestrator.graph.item import ItemError
from orchestrator.ports.values import decode_cell, decode_chunk, describe, digest_bytes

FAILURE = Failure(
    ("shop.rows:BadRow", "builtins:ValueError", "builtins:Exception"), "row 7 has no price", ("a.py:1 in f",)
)


def test_the_driver_and_the_codec_write_the_same(values: StoredValues) -> None:
    error = ItemError(FAILURE.message, FAILURE.classes)
    assert item_error_cell(FAILURE) == values.encode(error)
    assert values.load(decode_cell(item_error_cell(FAILURE))).value == error


def test_a_chunk_holds_it_alone(values: StoredValues) -> None:
    digest, data = item_error_chunk(FAILURE)
    assert digest == digest_bytes(data)
    (cell,) = decode_chunk(data)
    assert values.load(cell).value.name == "BadRow"
    assert describe(cell).preview == "ItemError(BadRow: row 7 has no price)"


def test_odd_failures_are_text_all_the_same(values: StoredValues) -> None:
    for failure in (
        Failure((), ""),
        Failure(("builtins:ValueError",), "lone \ud800 surrogate"),
        Failure(("x",), "m" * 10**6),
    ):
        back = values.load(decode_cell(item_error_cell(failure))).value
        assert back.classes == failure.classes
        assert back.message[:4] == failure.message[:4]


def test_making_one_loads_no_codec() -> None:
    code = (
        "import sys; from orchestrator.artifacts.errors import item_error_chunk;"
        "from orchestrator.graph.fact import Failure; item_error_chunk(Failure(('a:B',), 'm'));"
        "assert not [name for name in sys.modules if '.codecs.' in name], sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
