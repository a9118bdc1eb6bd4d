"""Values that cannot be stored, or that fight back: a precise error, no side effect on readers, no hang."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.artifacts import LocalStore, Signer, StoredValues
from orchestrator.errors import ResultNotEncodable, SignatureInvalid, StepTimedOut
from orchestrator.ports.values import Entry, decode_cell, describe, digest_bytes
from tests.artifacts import samples


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def capturing() -> Callable[[], object]:
    secret = threading.Lock()
    return lambda: secret


def generator() -> Iterator[int]:
    yield 1


class Deep:
    def __init__(self) -> None:
        self.parts = {"a": [1, samples.Plain(threading.Lock())]}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (threading.Lock, "value itself: it is a lock.*leave locks out"),
        (generator, "it is a generator.*streaming=True"),
        (partial(open, __file__), "TextIOWrapper.*path or the content"),
        (partial(open, __file__, "rb"), "BufferedReader.*path or the content"),
        (lambda: memoryview(b"x"), "memoryview.*return bytes"),
        (lambda: {"a": [samples.Plain(threading.Lock())]}, r"\['a'\]\[0\]\.model: it is a lock"),
        (lambda: (1, samples.Slotted(generator())), r"\[1\]\.model: it is a generator"),
        (Deep, r"\.parts\['a'\]\[1\]\.model: it is a lock"),
        (capturing, r"\.<closure secret>: it is a lock"),
        (lambda: {(1, 2): threading.Lock()}, r"\[\(1, 2\)\]: it is a lock"),
        (samples.HostilePickle, "it is a HostilePickle: SystemExit: hostile"),
        (lambda: [1, samples.HostilePickle()], r"\[1\]: it is a HostilePickle: SystemExit: hostile"),
        (samples.RudePickle, "it is a RudePickle: Rude"),
        (lambda: nested(100_000), "nested too deeply"),
        (lambda: samples.Plain(nested(5_000)), "nested too deeply"),
    ],
)
def test_what_cannot_be_stored_is_named(values: StoredValues, make: Callable[[], object], message: str) -> None:
    value = make()
    with samples.armed():
        try:
            values.encode(value)
        except ResultNotEncodable as error:
            refused = error
    assert re.search(message, str(refused))
    assert refused.user_fault
    if issubclass(type(value), io.IOBase):
        value.close()  # type: ignore[attr-defined]


def test_hostile_methods_do_not_reach_the_description(values: StoredValues) -> None:
    """Such an object is stored if it can be pickled: what else it does is its reader's business."""
    hostile = samples.Hostile()
    with samples.armed():
        cells = [values.encode(value) for value in (hostile, [hostile], samples.Plain(hostile))]
    alone, listed, contained = (describe(decode_cell(cell)) for cell in cells)
    assert (alone.truth, alone.length, alone.preview) == (None, None, "Hostile")
    assert (listed.truth, listed.length, listed.preview) == (True, 1, "[Hostile]")
    assert contained.preview == "Plain(model=Hostile, auc=0.5)"


def test_a_class_that_hides_behind_its_metaclass_is_stored_or_refused(values: StoredValues) -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            if name in ("__module__", "__qualname__", "__name__"):
                raise SystemExit("hostile metaclass")
            return super().__getattribute__(name)

        def __hash__(cls) -> int:
            raise SystemExit("hostile hash")

    class Hidden(metaclass=Meta):
        pass

    for value in (Hidden(), [Hidden()], {"a": Hidden()}):
        with pytest.raises(ResultNotEncodable):
            values.encode(value)


def test_circles_keep_their_shape(values: StoredValues) -> None:
    circle: dict[str, Any] = {"name": "circle"}
    circle["self"] = [circle]
    back = values.load(decode_cell(values.encode(circle))).value
    assert back["self"][0] is back

    knot = samples.Plain(None)
    knot.model = {"knot": (knot,)}
    tied = values.load(decode_cell(values.encode(knot))).value
    assert tied.model["knot"][0] is tied


@pytest.mark.parametrize("leaf", [1, samples.Color.RED])
def test_small_objects_that_would_unfold_without_end_are_kept_small(values: StoredValues, leaf: object) -> None:
    value: Any = [leaf] * 10
    for _ in range(12):
        value = [value] * 10
    entry = decode_cell(values.encode(value))
    assert isinstance(entry, Entry)
    assert entry.size < 10_000
    back = values.load(entry).value
    for _ in range(12):
        assert len(back) == 10
        back = back[0]
    assert back == [leaf] * 10


def test_interrupts_are_not_mistaken_for_the_value(values: StoredValues) -> None:
    class Interrupted:
        def __init__(self, error: type[BaseException]) -> None:
            self.error = error

        def __bool__(self) -> bool:
            raise self.error

        def __reduce__(self) -> Any:
            raise self.error

    for error in (KeyboardInterrupt, StepTimedOut, MemoryError):
        with pytest.raises(error):
            values.encode(Interrupted(error))


def test_an_unsigned_pickle_never_runs(values: StoredValues, local: LocalStore, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    entry = decode_cell(values.encode(samples.Bomb(str(mark))))
    assert isinstance(entry, Entry)
    assert entry.data is not None
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    raw = entry.data[40:]
    forgeries = [
        raw,
        entry.data[:8] + bytes(32) + raw,
        entry.data[:40] + raw[:-1] + b".",
        entry.data[:8],
        b"",
    ]
    forgeries[2] = entry.data[:39] + bytes([entry.data[39] ^ 1]) + raw
    for data in forgeries:
        with pytest.raises(SignatureInvalid, match="not loaded"):
            values.load(Entry(**{**fields, "data": data, "digest": digest_bytes(data)}))
    stranger = StoredValues(local, Signer(key=b"\1" * 32))
    with pytest.raises(SignatureInvalid, match="another key"):
        stranger.load(entry)
    assert not mark.exists()
    assert values.load(entry).value == str(mark)
    assert mark.exists()


def test_describing_and_moving_a_pickle_never_runs_it(values: StoredValues, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    cell = decode_cell(values.encode(samples.Plain([samples.Bomb(str(mark))])))
    assert "Bomb" in describe(cell).preview
    model = values.child(cell, "model")
    assert model is not None
    assert isinstance(values.child(model, 0), Entry)
    assert not mark.exists()
