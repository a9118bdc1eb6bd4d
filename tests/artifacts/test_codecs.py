"""Each codec on the values it is for, and on those that only look like it; and a new codec as one dropped file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.artifacts import LocalStore, Registry, Signer, StoredValues
from orchestrator.artifacts.codecs.parquet import Parquet
from orchestrator.artifacts.local import _Map
from orchestrator.errors import ArtifactUnreadable, ConfigError
from orchestrator.graph.item import ItemError
from orchestrator.ports.values import Entry, decode_cell, describe
from tests.artifacts import samples


def there_and_back(values: StoredValues, value: object, codec: str) -> Any:
    cell = decode_cell(values.encode(value))
    assert isinstance(cell, Entry)
    assert cell.codec == codec
    back = values.load(cell).value
    assert type(back) is type(value)
    return back


# ---- Python's own


@pytest.mark.parametrize(
    ("value", "codec"),
    [
        (samples.Pair(1, "a"), "pickle"),
        (samples.Text("a"), "pickle"),
        (samples.Color.RED, "pickle"),
        (1 << 70, "pickle"),
        (1j, "pickle"),
        (bytearray(b"x"), "pickle"),
        (range(3), "pickle"),
        ({1: (2,)}, "dict"),
        ({(1, 2): 3}, "pickle"),
        ({1.5: 2, None: 3, b"k": 4}, "msgpack"),
        ({frozenset({1})}, "pickle"),
        (samples.Box(1), "dataclass"),
        (samples.Derived(1, (2,)), "dataclass"),
        (samples.ListLike("x"), "pickle"),
    ],
)
def test_types_stay_exact(values: StoredValues, value: object, codec: str) -> None:
    assert there_and_back(values, value, codec) == value


def test_a_dataclass_is_rebuilt_without_running_its_code(values: StoredValues) -> None:
    value = samples.Careful(2)
    value.value = -1
    made = samples.Careful.made
    back = there_and_back(values, value, "dataclass")
    assert (back.value, back.twice, samples.Careful.made) == (-1, 4, made)


def test_a_dataclass_with_more_than_its_fields_keeps_it(values: StoredValues) -> None:
    value = samples.WithExtra(1)
    there_and_back(values, value, "dataclass")
    assert value.slow == 2
    assert there_and_back(values, value, "pickle").__dict__ == {"value": 1, "slow": 2}
    assert there_and_back(values, samples.OwnState(1), "pickle").note == "from getstate"


def test_a_dataclass_with_an_unset_field_stays_so(values: StoredValues) -> None:
    value = samples.Derived(1, 2)
    del value.left
    assert not hasattr(there_and_back(values, value, "pickle"), "left")


def test_a_class_without_a_path_travels_along(values: StoredValues) -> None:
    from dataclasses import dataclass

    @dataclass
    class Local:
        item: int

    cell = decode_cell(values.encode(Local(3)))
    assert isinstance(cell, Entry)
    assert cell.codec == "pickle"
    assert values.load(cell).value.item == 3


def test_functions_keep_classes_by_reference(values: StoredValues) -> None:
    kind, offset = samples.Opaque, 2
    function = lambda x: kind(x + offset)  # noqa: E731
    assert there_and_back(values, function, "pickle")(1) == samples.Opaque(3)
    make, instance = there_and_back(values, [lambda: 1, samples.Opaque(1)], "list")
    assert make() == 1
    assert type(instance) is samples.Opaque


_MAIN = """
import sys
from dataclasses import dataclass
from orchestrator.artifacts import LocalStore, Signer, StoredValues
from orchestrator.ports.values import decode_cell, encode_cell

@dataclass(frozen=True)
class Fitted:
    model: object

values = StoredValues(LocalStore(sys.argv[1]), Signer(key=bytes(32)))
if len(sys.argv) == 2:
    print(values.encode(Fitted((1, Fitted(2)))).hex())
else:
    back = values.load(decode_cell(bytes.fromhex(sys.argv[2]))).value
    assert back == Fitted((1, Fitted(2))) and type(back) is Fitted
"""


def test_classes_of_main_come_back_where_main_has_them(values: StoredValues, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", _MAIN, str(tmp_path / "store"), *arguments]
        return subprocess.run(
            command, capture_output=True, check=True, text=True, cwd=Path(__file__).parents[2]
        ).stdout.strip()

    cell = run()
    run(cell)
    with pytest.raises(ArtifactUnreadable, match="Fitted"):
        values.load(decode_cell(bytes.fromhex(cell)))
    here = type("Fitted", (), {})
    mapped = StoredValues(values.store, values.signer, resolve=lambda path: {"__main__:Fitted": samples.Plain}[path])
    with pytest.raises(ArtifactUnreadable, match="fields"):
        mapped.load(decode_cell(bytes.fromhex(cell)))
    assert here is not samples.Plain


def test_kept_failures_come_back(values: StoredValues) -> None:
    error = ItemError("bad row", ("tests:BadRow", "builtins:ValueError"))
    assert there_and_back(values, error, "item_error") == error
    assert describe(decode_cell(values.encode(error))).preview == "ItemError(BadRow: bad row)"


# ---- NumPy


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).astype(dtype).reshape(3, 4)
        for dtype in ("i1", "u8", ">i4", "f2", "f4", "f8", "c16", "M8[ns]", "m8[s]")
    ]
    + [
        np.array([True, False]), np.array(3.5), np.empty((0, 3)), np.array(["ab", "c"]), np.array([b"ab", b"c"]),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(20)[::3], np.arange(24).reshape(2, 3, 4).T,
        np.arange(24).reshape(4, 6)[1:3, 2:5], np.array([np.nan, -0.0]),
    ],
)  # fmt: skip
def test_arrays_come_back_bit_for_bit(values: StoredValues, array: Any) -> None:
    back = there_and_back(values, array, "npy")
    assert back.dtype == array.dtype
    assert back.dtype.byteorder == array.dtype.byteorder
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert back.flags.f_contiguous == array.flags.f_contiguous or not array.flags.c_contiguous
    assert not back.flags.writeable


def test_a_large_array_is_a_view_of_the_file(values: StoredValues) -> None:
    array = np.arange(1_000_000.0)
    loaded = values.load(decode_cell(values.encode(array)))
    assert loaded.shareable
    base = loaded.value
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert isinstance(base, memoryview)
    assert isinstance(base.obj, _Map)
    assert np.array_equal(loaded.value, array)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1, "a", None], dtype=object), np.zeros(2, dtype=[("x", "i4"), ("y", "f8")]), np.array(["", ""]),
        np.ma.masked_array([1, 2], [True, False]), np.zeros(2, dtype=np.dtype("f8", metadata={"unit": "m"})),
    ],
)  # fmt: skip
def test_other_arrays_are_pickled(values: StoredValues, array: Any) -> None:
    cell = decode_cell(values.encode(array))
    back = there_and_back(values, array, "npy" if array.dtype.kind == "U" else "pickle")
    assert back.dtype == array.dtype
    assert repr(back) == repr(array)
    assert isinstance(cell, Entry)


@pytest.mark.parametrize(
    "scalar",
    [np.float32(1.5), np.int8(-3), np.bool_(True), np.complex64(1j), np.datetime64("2013-01-01T05", "h"),
     np.timedelta64(3, "D"), np.str_("text"), np.bytes_(b"x"), np.float64("nan")],
)  # fmt: skip
def test_numpy_scalars_stay_numpy_scalars(values: StoredValues, scalar: Any) -> None:
    back = there_and_back(values, scalar, "numpy_scalar")
    assert back.dtype == scalar.dtype
    assert back.tobytes() == scalar.tobytes()


@pytest.mark.parametrize("scalar", [np.str_(""), np.void(b"ab")])
def test_odd_numpy_scalars_are_pickled(values: StoredValues, scalar: Any) -> None:
    assert there_and_back(values, scalar, "pickle") == scalar


# ---- Arrow


def table() -> Any:
    return pa.table(
        {
            "year": pa.array([2013, None, 2014], pa.int16()),
            "carrier": pa.array(["UA", "AA", "UA"]).dictionary_encode(),
            "when": pa.array([1, 2, None], pa.timestamp("us", "America/New_York")),
            "nested": pa.array([[{"a": 1}], [], None], pa.list_(pa.struct([("a", pa.int64())]))),
        }
    ).replace_schema_metadata({"origin": "test"})


@pytest.mark.parametrize(
    "value",
    [
        table(), table().slice(1, 1), table().slice(0, 0), pa.table({}), table().to_batches()[0],
        table()[1:].to_batches()[0],
        pa.concat_tables([table(), table()]),
    ],
)  # fmt: skip
def test_tables_come_back_with_schema_and_metadata(values: StoredValues, value: Any) -> None:
    back = there_and_back(values, value, "arrow")
    assert back.schema.equals(value.schema, check_metadata=True)
    assert back.equals(value)


def test_dictionaries_that_differ_between_chunks_become_one(values: StoredValues) -> None:
    chunks = [pa.array(letters).dictionary_encode() for letters in (["a", "b"], ["c", None, "a"])]
    value = pa.table({"d": pa.chunked_array(chunks)})
    back = there_and_back(values, value, "arrow")
    assert back.schema.equals(value.schema)
    assert back.to_pylist() == value.to_pylist()
    nested = pa.table({"s": pa.chunked_array([pa.StructArray.from_arrays([chunk], ["d"]) for chunk in chunks])})
    assert there_and_back(values, nested, "arrow").to_pylist() == nested.to_pylist()


def test_a_large_table_is_read_without_copying(values: StoredValues) -> None:
    value = pa.table({"x": np.arange(1_000_000), "y": np.arange(1_000_000.0)})
    cell = decode_cell(values.encode(value))
    before = pa.total_allocated_bytes()
    loaded = values.load(cell)
    assert loaded.value.equals(value)
    assert loaded.shareable
    assert pa.total_allocated_bytes() - before < 1_000_000
    assert describe(cell).preview == "Table 1000000\N{MULTIPLICATION SIGN}2: x, y"
    assert describe(cell).length == 1_000_000


def test_equal_tables_have_equal_digests_however_they_are_cut(values: StoredValues) -> None:
    whole = pa.table({"x": [1, 2, 3, 4]})
    cut = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 3)])
    assert values.encode(whole) == values.encode(cut)
    assert values.encode(whole) == values.encode(pa.table({"x": [0, 1, 2, 3, 4]}).slice(1))


def test_tables_batches_and_frames_of_one_content_differ(values: StoredValues) -> None:
    frame = pytest.importorskip("pandas").DataFrame({"x": [1, 2]})
    whole = pa.Table.from_pandas(frame)
    kinds = [whole, whole.to_batches()[0], frame, Parquet(whole)]
    cells = [decode_cell(values.encode(kind)) for kind in kinds]
    assert len({cell.digest for cell in cells if isinstance(cell, Entry)}) == 4


def test_parquet_is_smaller_and_equal(values: StoredValues) -> None:
    value = Parquet(pa.table({"x": [1] * 100_000, "s": ["same"] * 100_000}).replace_schema_metadata({"k": "v"}))
    cell = decode_cell(values.encode(value))
    plain = decode_cell(values.encode(value.table))
    assert isinstance(cell, Entry)
    assert isinstance(plain, Entry)
    assert cell.size * 20 < plain.size
    back = there_and_back(values, value, "parquet")
    assert back.table.equals(value.table)
    assert back.table.schema.metadata == {b"k": b"v"}
    assert cell.length == 100_000


def test_what_parquet_cannot_hold_is_still_stored(values: StoredValues) -> None:
    value = Parquet(pa.table({"m": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}))
    assert there_and_back(values, value, "dataclass") == value


# ---- pandas


def frames() -> list[tuple[str, Any]]:
    pd = pytest.importorskip("pandas")
    simple = pd.DataFrame({"a": [1, 2], "b": [1.5, None], "c": ["x", None], "d": [True, False]})
    times = pd.DataFrame({"t": pd.to_datetime(["2013-01-01", None]), "d": pd.to_timedelta([1, 2], unit="s")})
    named = pd.DataFrame({"a": [1]}, index=pd.Index([7], name="id"))
    flagged = pd.DataFrame({"a": [1]})
    flagged.attrs["unit"] = "m"
    return [
        ("pandas", simple), ("pandas", times), ("pandas", simple[:0]),
        ("pandas", pd.DataFrame({"x": np.arange(5, dtype="i1")})),
        ("pickle", named), ("pickle", flagged), ("pickle", simple[1:]), ("pickle", pd.DataFrame()),
        ("pickle", pd.DataFrame({1: [1]})), ("pickle", pd.DataFrame([[1, 2]], columns=["a", "a"])),
        ("pickle", pd.DataFrame({"o": pd.Series([1, "x", [2]], dtype=object)})),
        ("pickle", pd.DataFrame({"c": pd.Categorical(["b", "a"], ["b", "a", "z"], ordered=True)})),
        ("pickle", pd.DataFrame({"z": pd.to_datetime(["2013-01-01"]).tz_localize("Europe/Berlin")})),
        ("pickle", pd.DataFrame({"i": pd.array([1, None], dtype="Int64")})),
        ("pickle", pd.DataFrame({("a", 1): [1]})),
    ]  # fmt: skip


@pytest.mark.parametrize("index", range(15))
def test_frames_come_back_exactly(values: StoredValues, index: int) -> None:
    testing = pytest.importorskip("pandas").testing
    codec, frame = frames()[index]
    back = there_and_back(values, frame, codec)
    testing.assert_frame_equal(back, frame, check_exact=True, check_index_type="exact", check_column_type="exact")
    assert list(back.dtypes) == list(frame.dtypes)
    assert back.attrs == frame.attrs


def test_a_loaded_frame_may_be_changed(values: StoredValues) -> None:
    pd = pytest.importorskip("pandas")
    cell = decode_cell(values.encode(pd.DataFrame({"x": np.arange(100_000.0)})))
    loaded = values.load(cell)
    assert not loaded.shareable
    loaded.value.loc[0, "x"] = 7.0
    loaded.value["y"] = 1
    assert values.load(cell).value.loc[0, "x"] == 0.0


def test_series_and_timestamps_come_back(values: StoredValues) -> None:
    pd = pytest.importorskip("pandas")
    series = pd.Series([1, 2], name="s", index=["a", "b"])
    pd.testing.assert_series_equal(there_and_back(values, series, "pickle"), series)
    assert there_and_back(values, pd.Timestamp("2013-01-01", tz="UTC"), "pickle") == pd.Timestamp(
        "2013-01-01", tz="UTC"
    )


# ---- extension by one file

_CODEC_FILE = """
from orchestrator.artifacts.codec import Codec, Encoded
from orchestrator.ports.values import Loaded


class TemperatureCodec(Codec):
    name = "temperature"
    roots = ("weather",)

    def encode(self, value, encoding):
        return Encoded((str(value.degrees).encode(),)) if type(value).__name__ == "Temperature" else None

    def decode(self, data, path, decoding):
        return Loaded(decoding.resolve(path)(float(bytes(data))), True)

    def preview(self, value):
        return f"{value.degrees} degrees"


CODEC = TemperatureCodec()
"""

_LIBRARY = """
class Temperature:
    def __init__(self, degrees):
        self.degrees = degrees
"""


@pytest.fixture
def weather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library with a class, and its codec in a package and behind an entry point."""
    (tmp_path / "weather.py").write_text(_LIBRARY)
    package = tmp_path / "dropped_codecs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "temperature.py").write_text(_CODEC_FILE)
    information = tmp_path / "weather-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: weather\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[weather.codecs]\ntemperature = dropped_codecs.temperature\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("weather").Temperature(21.5)
    for name in ("weather", "dropped_codecs", "dropped_codecs.temperature"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("way", ["package", "entry point"])
def test_a_codec_is_one_file(weather: Any, local: LocalStore, way: str) -> None:
    if way == "package":
        registry = Registry(("orchestrator.artifacts.codecs", "dropped_codecs"))
    else:
        registry = Registry(group="weather.codecs")
    values = StoredValues(local, Signer(key=bytes(32)), registry)
    cell = decode_cell(values.encode([weather]))
    assert "21.5 degrees" in describe(cell).preview
    back = values.load(cell).value[0]
    assert back.degrees == 21.5
    other = Registry(group="weather.codecs" if way == "entry point" else "")
    child = values.child(cell, 0)
    assert isinstance(child, Entry)
    assert child.codec == "temperature"
    reader = StoredValues(local, Signer(key=bytes(32)), other)
    if way == "entry point":
        assert reader.load(child).value.degrees == 21.5
    else:
        with pytest.raises(ArtifactUnreadable, match="temperature"):
            reader.load(child)


def test_two_codecs_of_one_name_are_refused(weather: Any, tmp_path: Path) -> None:
    (tmp_path / "dropped_codecs" / "again.py").write_text(_CODEC_FILE)
    with pytest.raises(ConfigError, match="temperature"):
        Registry(("dropped_codecs",))


def test_a_file_without_a_codec_is_refused(weather: Any, tmp_path: Path) -> None:
    (tmp_path / "dropped_codecs" / "empty.py").write_text("CODEC = None\n")
    with pytest.raises(ConfigError, match="holds no codec"):
        Registry(("dropped_codecs",))


# ---- laziness

_LAZY = """
import sys, tempfile
from orchestrator.artifacts import Signer, StoredValues, open_store
from orchestrator.ports.values import decode_cell
directory = tempfile.mkdtemp()
values = StoredValues(open_store(directory), Signer(directory))
for value in (1, "text", [1, {"a": (1, 2)}], {1, 2}, 1 << 80):
    assert values.load(decode_cell(values.encode(value))).value == value
heavy = {"pyarrow", "numpy", "pandas", "ray", "fsspec", "cloudpickle"} & set(sys.modules)
assert not heavy, heavy
"""


def test_values_of_no_library_load_no_library() -> None:
    subprocess.run([sys.executable, "-c", _LAZY], check=True, cwd=Path(__file__).parents[2])
