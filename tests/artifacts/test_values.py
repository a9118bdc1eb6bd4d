"""Values through cells and back: the same value of the same type, described truly, named by a stable digest."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.artifacts import LocalStore, Signer, StoredValues
from orchestrator.artifacts.values import BARE_CHARS
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, ArtifactUnreadable
from orchestrator.ports.values import (
    INLINE_BYTES,
    PREVIEW_CHARS,
    Entry,
    decode_cell,
    decode_chunk,
    describe,
    digest_of,
    encode_cell,
    encode_chunk,
)
from tests.artifacts import samples
from tests.artifacts.test_local_store import file_of, flip_byte

LONG = "x" * (INLINE_BYTES + 1)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.text(st.characters(), max_size=5)
)
keys = st.text(max_size=5) | st.integers(-3, 2**65)
trees = st.recursive(
    scalars | st.frozensets(st.integers() | st.text(max_size=3)) | st.sets(st.binary(max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.builds(samples.Plain, inner, st.floats())
        | st.builds(samples.Slotted, inner, st.floats())
        | st.builds(samples.Derived, inner, inner)
        | st.builds(samples.Opaque, inner)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equality that also compares types, the order of dicts, the sign of zero and NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, set | frozenset):
        return sorted(map(repr, a)) == sorted(map(repr, b))
    if isinstance(a, samples.Plain | samples.Slotted):
        return same((a.model, a.auc), (b.model, b.auc))
    if isinstance(a, samples.Derived):
        return same((a.left, a.right), (b.left, b.right))
    if isinstance(a, samples.Opaque):
        return same(a.value, b.value)
    return bool(a == b)


def copy_of(value: Any) -> Any:
    """An equal value made of other objects."""
    if isinstance(value, list | tuple):
        return type(value)(map(copy_of, value))
    if isinstance(value, dict):
        return {copy_of(key): copy_of(child) for key, child in value.items()}
    if isinstance(value, str):
        return "".join(value[i] for i in range(len(value)))
    return value


def entry_of(values: StoredValues, value: object) -> Entry:
    cell = decode_cell(values.encode(value))
    assert isinstance(cell, Entry)
    return cell


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> StoredValues:
    return StoredValues(LocalStore(tmp_path_factory.mktemp("artifacts")), Signer(key=bytes(32)))


# ---- there and back


@given(trees)
@example(-0.0)
@example(float("nan"))
@example([True, 1, 1.0, "1", b"1"])
@example({1: "int", "1": "str"})
@example("\ud800")
@example([2**64, -(2**63) - 1])
@example({"big": [LONG, {"tuple": (LONG,)}]})
@example([(), [], {}, "", b"", frozenset(), set()])
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_tree_comes_back_the_same(shared: StoredValues, value: Any) -> None:
    encoded = shared.encode(value)
    cell = decode_cell(encoded)
    assert same(shared.load(cell).value, value)
    description = describe(cell)
    assert description.type == f"{type(value).__module__}:{type(value).__qualname__}"
    assert len(description.preview) <= PREVIEW_CHARS
    assert description.truth is (bool(value))
    assert description.length == (len(value) if hasattr(value, "__len__") else None)


@given(trees)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_equal_values_made_anew_have_equal_bytes(shared: StoredValues, value: Any) -> None:
    if "Opaque" not in repr(value):  # pickle tells shared objects from equal ones
        assert shared.encode(copy_of(value)) == shared.encode(value)


@given(st.lists(trees, max_size=5))
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_cells_travel_in_chunks(shared: StoredValues, items: list[Any]) -> None:
    chunk = encode_chunk([shared.encode(item) for item in items])
    assert same([shared.load(cell).value for cell in decode_chunk(chunk)], items)


@pytest.mark.parametrize("value", [None, True, 0, -(2**63), 2**64 - 1, 1.5, "", "x" * BARE_CHARS])
def test_scalars_stand_for_themselves(values: StoredValues, value: object) -> None:
    cell = decode_cell(values.encode(value))
    assert same(cell, value)
    assert values.load(cell) == (value, True)


def test_small_values_are_inline_and_large_ones_are_artifacts(values: StoredValues, local: LocalStore) -> None:
    assert entry_of(values, b"x" * 1000).data is not None
    assert list(local.list()) == []
    entry = entry_of(values, [1.5] * 100_000)
    assert entry.data is None
    assert entry.size > INLINE_BYTES
    assert [info.digest for info in local.list()] == [entry.digest]


def test_types_that_look_alike_have_different_digests(values: StoredValues) -> None:
    lookalikes: list[Any] = [
        1, 1.0, True, "1", b"\1", [1], (1,), {1}, frozenset({1}), {"model": 1, "auc": 0.5},
        samples.Plain(1), samples.Frozen(1), samples.Slotted(1), None, [], (), {}, set(), "", b"",
        [(1,)], ((1,),), [LONG, 1], (LONG, 1),
    ]  # fmt: skip
    assert len({digest_of(decode_cell(values.encode(value))) for value in lookalikes}) == len(lookalikes)


_OTHER_PROCESS = """
import json, sys
from orchestrator.artifacts import LocalStore, Signer, StoredValues
from orchestrator.ports.values import decode_cell, digest_of
from tests.artifacts.samples import Slotted
from tests.artifacts.test_values import various
values = StoredValues(LocalStore(sys.argv[1]), Signer(key=bytes(32)))
print(json.dumps([digest_of(decode_cell(values.encode(value))) for value in various()]))
"""


def various() -> list[Any]:
    """One value for each way of encoding whose bytes must not depend on the process."""
    import numpy as np
    import pyarrow as pa

    names = [f"name {i}" for i in range(50)]
    return [
        set(names), frozenset(names), {name: {name} for name in names}, samples.Slotted(set(names)), (set(names), LONG),
        dict.fromkeys(names), np.arange(1000.0), np.float32(2), pa.table({name: [1] for name in names}), b"bytes", 7,
        samples.Opaque(names), samples.Color.RED, 2**80,
    ]  # fmt: skip


def test_digests_do_not_depend_on_the_process(values: StoredValues, tmp_path: Path) -> None:
    here = [digest_of(decode_cell(values.encode(value))) for value in various()]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-c", _OTHER_PROCESS, str(tmp_path / "other")]
        output = subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout
        assert json.loads(output) == here


# ---- previews


@pytest.mark.parametrize(
    ("value", "preview"),
    [
        ({"b": 1, "a": [1, 2]}, "{'b': 1, 'a': [1, 2]}"),
        ((1,), "(1,)"),
        (samples.Slotted(None, 0.25), "Slotted(model=None, auc=0.25)"),
        (samples.Opaque(1), "Opaque"),
        (samples.Color.RED, "Color.RED"),
        (ValueError("bad", 1), "ValueError('bad', 1)"),
        ({3, 1, 2}, "{1, 2, 3}"),
        (b"ab", "b'ab'"),
        (10**400, "int of 1329 bits"),
        (len, "function len"),
        (dict, "class dict"),
    ],
)
def test_previews_are_for_people(values: StoredValues, value: object, preview: str) -> None:
    assert describe(decode_cell(values.encode(value))).preview == preview


def test_previews_hold_no_addresses(values: StoredValues) -> None:
    for value in (samples.Opaque(object()), [samples.Opaque(1)], lambda: 1, samples.Plain(object)):
        assert "0x" not in describe(decode_cell(values.encode(value))).preview


def test_a_long_container_is_shown_by_its_beginning(values: StoredValues) -> None:
    for value in (list(range(100_000)), {i: i for i in range(100_000)}, ["y" * 10_000] * 3, [[[[[["deep"]]]]]] * 200):
        preview = describe(decode_cell(values.encode(value))).preview
        assert preview.endswith("…")
        assert len(preview) == PREVIEW_CHARS


# ---- children


def test_a_field_moves_without_its_neighbours(values: StoredValues, local: LocalStore) -> None:
    parts = samples.Plain({"train": [LONG, 1], "test": (2, 3)}, 0.75)
    cell = decode_cell(values.encode(parts))
    assert values.child(cell, "auc") == 0.75
    model = values.child(cell, "model")
    assert model is not None
    train = values.child(model, ("key", "train"))
    assert train is not None
    assert isinstance(train, Entry)
    large = values.child(train, 0)
    assert isinstance(large, Entry)
    local.delete(large.digest)
    assert values.child(train, -1) == 1
    test = values.child(model, ("key", "test"))
    assert test is not None
    assert values.load(test).value == (2, 3)


def test_items_of_plain_lists_and_dicts_have_cells_too(values: StoredValues) -> None:
    for size in (5, 50_000):
        rows = decode_cell(values.encode([{"row": i} for i in range(size)]))
        for index in (0, 3, -1, size - 1):
            child = values.child(rows, index)
            assert child == decode_cell(values.encode({"row": index % size}))
    mapping = decode_cell(values.encode({"a": 1, 2: [3]}))
    assert values.child(mapping, ("key", "a")) == 1
    assert values.child(mapping, 2) == decode_cell(values.encode([3]))


@pytest.mark.parametrize(
    ("value", "element", "error"),
    [
        (samples.Plain(1), "absent", AttributeError),
        (samples.Plain(1), 0, AttributeError),
        ([LONG, 1], 2, IndexError),
        ((1, 2), -3, IndexError),
        ([1, 2], 2, IndexError),
        ({"a": LONG}, ("key", "b"), KeyError),
        ({"a": 1}, ("key", "b"), KeyError),
        ({"a": 1}, 0, KeyError),
        ([1], "append", AttributeError),
        ([LONG], ("key", "a"), AttributeError),
    ],
)
def test_a_part_that_is_not_there_raises(
    values: StoredValues, value: object, element: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        values.child(decode_cell(values.encode(value)), element)


@pytest.mark.parametrize("value", [1, "text", b"bytes", {1, 2}, samples.Opaque(1), LONG])
def test_what_is_no_container_has_no_children(values: StoredValues, value: object) -> None:
    assert values.child(decode_cell(values.encode(value)), 0) is None


# ---- what may be shared


@pytest.mark.parametrize(
    ("value", "shareable"),
    [
        (1, True), (LONG, True), (b"x", True), ((1, "a"), True), (frozenset({1}), True), (samples.Slotted((1,)), True),
        ([1], False), ({}, False), ({1}, False), (([1],), False), (samples.Slotted([1]), False),
        (samples.Plain(1), False), (samples.Opaque(1), False),
    ],
)  # fmt: skip
def test_only_what_cannot_change_is_shareable(values: StoredValues, value: object, shareable: bool) -> None:
    assert values.load(decode_cell(values.encode(value))).shareable is shareable


def test_each_load_of_a_changeable_value_gives_a_new_object(values: StoredValues) -> None:
    cell = decode_cell(values.encode({"rows": [1, 2]}))
    values.load(cell).value["rows"].append(3)
    assert values.load(cell).value == {"rows": [1, 2]}


# ---- reading what is damaged, gone or unknown


def test_damaged_artifacts_are_never_loaded(values: StoredValues, local: LocalStore) -> None:
    for value in ([1.5] * 50_000, LONG, samples.Opaque(LONG), (LONG, LONG)):
        entry = entry_of(values, value)
        path = next(p for p in (file_of(local, info.digest) for info in local.list()))
        flip_byte(path, path.stat().st_size // 2)
        with pytest.raises(ArtifactCorrupt):
            values.load(entry)
        path.unlink()


def test_damaged_inline_bytes_are_never_loaded(values: StoredValues) -> None:
    entry = entry_of(values, samples.Opaque(1))
    assert entry.data is not None
    forged = Entry(**{**_fields(entry), "data": entry.data[:-1] + b"x"})
    with pytest.raises(ArtifactCorrupt):
        values.load(decode_cell(encode_cell(forged)))


def test_a_collected_artifact_is_missing(values: StoredValues, local: LocalStore) -> None:
    entry = entry_of(values, LONG)
    local.delete(entry.digest)
    with pytest.raises(ArtifactMissing, match=entry.digest):
        values.load(entry)


@pytest.mark.parametrize(
    ("codec", "path", "message"),
    [
        ("from_the_future", "builtins:list", "no codec 'from_the_future'"),
        ("dataclass", "no_such_module:Plain", "no_such_module"),
        ("dataclass", "tests.artifacts.samples:Gone", "Gone"),
        ("dataclass", "tests.artifacts.samples:Opaque", "no plain dataclass"),
        ("dataclass", "tests.artifacts.samples:Derived", "has the fields"),
        ("npy", "numpy:ndarray", "cannot be rebuilt"),
        ("arrow", "pyarrow.lib:Table", "cannot be rebuilt"),
    ],
)
def test_what_cannot_be_rebuilt_says_why(values: StoredValues, codec: str, path: str, message: str) -> None:
    entry = entry_of(values, samples.Plain(1))
    with pytest.raises(ArtifactUnreadable, match=message):
        values.load(Entry(**{**_fields(entry), "codec": codec, "type": path}))


def _fields(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}
