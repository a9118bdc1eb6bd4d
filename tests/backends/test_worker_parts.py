"""Parts of the worker: what leaves it and when, how steps are interrupted, what is kept of their output."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.bundles.bundle import RunningBundle
from orchestrator.backends.bundles.calls import call_key, rebuilt_error
from orchestrator.backends.bundles.failure import MESSAGE_CHARS, describe_failure
from orchestrator.backends.bundles.leave import Leave
from orchestrator.backends.bundles.logs import WorkerLog
from orchestrator.backends.bundles.outbox import UNREAD_FRAMES, Outbox
from orchestrator.backends.bundles.usage import shares
from orchestrator.backends.bundles.watchdog import Interrupted, Watch, Watchdog
from orchestrator.errors import NotFound, StepError, StepTimedOut, StoreUnavailable
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Node, SecretRef, StageSpec
from orchestrator.ports.frames import Outcomes, Run, Segment, decode_from_worker
from orchestrator.ports.logs import live_path, read_live
from orchestrator.ports.values import decode_chunk, digest_bytes, encode_cell

# ---- leave


def test_without_leave_a_step_waits_until_it_is_given_again() -> None:
    leave, waited = Leave(), threading.Event()
    leave.wait()
    leave.extend(-1.0)

    def start() -> None:
        leave.wait()
        waited.set()

    thread = threading.Thread(target=start)
    thread.start()
    assert not waited.wait(0.3)
    leave.extend(60.0)
    assert waited.wait(100)
    thread.join()


# ---- outbox


class Sent:
    """Frames that an outbox sent, decoded."""

    def __init__(self, put: Any = lambda data: digest_bytes(data)) -> None:
        self.frames: list[Outcomes] = []
        self.outbox = Outbox(self._take, put)

    def _take(self, data: bytes) -> None:
        frame = decode_from_worker(data)
        assert isinstance(frame, Outcomes)
        self.frames.append(frame)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), unique=True, max_size=60))
def test_every_completion_comes_out_once_with_its_own_cell(steps: list[tuple[str, int]]) -> None:
    sent = Sent()
    for node, index in steps:
        sent.outbox.complete("bundle", node, index, encode_cell(f"{node}{index}"), index)
    sent.outbox.flush("bundle", finished=True)
    found = {}
    for frame in sent.frames:
        cells = decode_chunk(frame.data) if frame.data is not None else []
        for done in frame.completed:
            for place, index in enumerate(range(done.start, done.stop)):
                assert (done.node, index) not in found
                found[done.node, index] = cells[done.at + place]
                assert int.from_bytes(done.elapsed_us[4 * place : 4 * place + 4], "little") == index
    assert found == {(node, index): f"{node}{index}" for node, index in steps}
    assert [frame.finished for frame in sent.frames] == [False] * (len(sent.frames) - 1) + [True]


def test_outcomes_leave_after_256_or_when_the_chunk_is_full() -> None:
    sent = Sent()
    for index in range(300):
        sent.outbox.complete("bundle", "n", index, encode_cell(index), 0)
    assert [len(decode_chunk(frame.data or b"")) for frame in sent.frames] == [256]
    for index in range(300, 310):
        sent.outbox.complete("bundle", "n", index, encode_cell("x" * 20_000), 0)
    assert len(sent.frames) > 1
    assert all(frame.data is not None for frame in sent.frames)


def test_what_waits_leaves_by_itself() -> None:
    sent = Sent()
    sent.outbox.start()
    sent.outbox.complete("bundle", "n", 0, encode_cell(1), 0)
    deadline = time.monotonic() + 300
    while not sent.frames and time.monotonic() < deadline:
        time.sleep(0.005)
    sent.outbox.close()
    assert sent.frames[0].completed[0].stop == 1


def test_a_large_chunk_is_stored_and_a_full_disk_is_not_its_steps_fault() -> None:
    stored: list[bytes] = []

    def put(data: bytes) -> str:
        stored.append(data)
        return digest_bytes(data)

    sent = Sent(put)
    sent.outbox.complete_single("bundle", "n", encode_cell("x" * 70_000), 5, None, None)
    sent.outbox.flush("bundle", finished=True)
    assert sent.frames[0].data is None
    assert sent.frames[0].chunk == digest_bytes(stored[0])

    def full(data: bytes) -> str:
        raise StoreUnavailable("no space left on device")

    sent = Sent(full)
    sent.outbox.complete("bundle", "n", 3, encode_cell("x" * 70_000), 5)
    sent.outbox.flush("bundle", finished=True)
    failed = [failed for frame in sent.frames for failed in frame.failed]
    assert [(one.node, one.index, one.classes[0]) for one in failed] == [
        ("n", 3, "orchestrator.backends.bundles.failure:StoreAway")
    ]
    assert "orchestrator.errors:StoreUnavailable" in failed[0].classes
    assert not any(frame.completed for frame in sent.frames)


def test_a_worker_does_not_run_ahead_of_a_driver_that_does_not_read() -> None:
    sent = Sent()
    reached = threading.Event()

    def work() -> None:
        for _ in range(UNREAD_FRAMES + 1):
            sent.outbox.flush("bundle", finished=True)
        reached.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert not reached.wait(0.3)
    assert len(sent.frames) == UNREAD_FRAMES
    sent.outbox.acknowledge(10)
    assert reached.wait(100)


# ---- bundles


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.lists(st.integers(0, 6), max_size=6), st.randoms())
def test_each_step_of_a_bundle_is_started_or_given_back_once(
    widths: list[int], releases: list[int], chance: random.Random
) -> None:
    segments = [Segment(str(place), 0, width, []) for place, width in enumerate(widths)]
    bundle = RunningBundle(Run("run", "bundle", 1, 0, segments), {})
    started: list[tuple[str, int]] = []
    given: list[tuple[str, int]] = []
    for part in bundle.parts:
        while True:
            if releases and chance.random() < 0.5:
                for node, start, stop in bundle.release(releases.pop()):
                    given += [(node, index) for index in range(start, stop)]
            index = bundle.take(part)
            if index is None:
                break
            started.append((part.segment.node, index))
    assert sorted(started + given) == [(str(p), i) for p, width in enumerate(widths) for i in range(width)]


# ---- interruptions


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    stuck: list[Watch] = []
    made = Watchdog(stuck.append, lambda: None, lambda: None)
    made.start()
    yield made
    made.stop()


def in_thread(body: Any) -> Any:
    """Result of ``body(watch)`` in a thread of its own."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(body(Watch("bundle"))), daemon=True)
    thread.start()
    thread.join(100)
    return found[0]


def test_a_step_is_interrupted_at_its_deadline_and_not_after_it(watchdog: Watchdog) -> None:
    def body(watch: Watch) -> str:
        watchdog.add(watch)
        watch.timeout_s = 0.3
        try:
            watch.begin("n", 7)
            while True:
                time.sleep(0.01)
        except Interrupted:
            watch.end()
        assert isinstance(watch.error(), StepTimedOut)
        watch.begin("n", 8)
        watch.end()
        time.sleep(0.5)  # nothing arrives between steps
        return watch.error().message

    assert "n[8]" in in_thread(body)


def test_a_shielded_part_of_a_step_ends_before_the_interruption_comes(watchdog: Watchdog) -> None:
    def body(watch: Watch) -> list[str]:
        seen = []
        watchdog.add(watch)
        try:
            watch.begin("n", 0)
            with watch.shield():
                watch.cancelled = True
                time.sleep(0.4)
                seen.append("whole")
            for _ in range(500):
                time.sleep(0.01)
            seen.append("never")
        except Interrupted:
            seen.append(watch.cause)
        watch.end()
        return seen

    assert in_thread(body) == ["whole", "cancelled"]


# ---- output


def test_output_is_attributed_to_steps_cut_and_blotted(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "one.log", step_bytes=100)
    log.hide("a secret")
    end = os.open(log.path, os.O_WRONLY | os.O_APPEND)

    def step(data: bytes) -> bytes | None:
        os.write(end, data)
        place = log.end_step(1_000_000)
        return Path(log.path).read_bytes()[place[0] : place[1]] if place else None

    assert step(b"first\n") == b"first\n"
    assert step(b"") is None
    assert step(b"this is a secret, really\n") == b"this is ********, really\n"
    cut = step(b"y" * 1000)
    assert cut is not None
    assert cut.startswith(b"y" * 100 + b"\n[900 more bytes")
    assert step(b"last\n") == b"last\n"
    assert log.mask("tell a secret") == "tell ***"
    os.close(end)


def test_what_a_running_step_prints_can_be_read_in_whole_lines_without_secrets(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "one.log")
    log.hide("a secret")
    end = os.open(log.path, os.O_WRONLY | os.O_APPEND)

    def shown(runs: bool = True) -> tuple[str, bytes] | None:
        log.show("bundle", "fit", 3, lambda: runs)
        found = read_live(Path(log.path))
        return None if found is None else (found.node, Path(log.path).read_bytes()[found.start : found.stop])

    os.write(end, b"of the step before\n")
    log.end_step(1_000_000)
    assert shown() is None
    os.write(end, b"no whole line, a sec")
    assert shown() is None
    os.write(end, b"ret\nand more")
    assert shown(runs=False) is None
    assert shown() == ("fit", b"no whole line, ********\n")
    os.write(end, b"\n")
    assert shown() == ("fit", b"no whole line, ********\nand more\n")
    log.end_step(1_000_000)
    os.write(end, b"next\n")
    assert shown() == ("fit", b"next\n")
    live_path(Path(log.path)).write_bytes(b"what we did not write")
    assert read_live(Path(log.path)) is None
    os.close(end)


# ---- failures


class Rude(Exception):
    def __str__(self) -> Any:
        return 7


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("plain"), "plain"),
        (Rude(), "cannot be shown: TypeError"),
        (ValueError("lone \ud800 surrogate"), "lone ? surrogate"),
        (ValueError("x" * 100_000), f"({100_000} characters)"),
        (NotFound("no such thing"), "no such thing"),
    ],
)
def test_any_exception_can_be_described(error: Exception, shown: str) -> None:
    failed = describe_failure("n", 1, error)
    assert shown in failed.message
    assert len(failed.message) < MESSAGE_CHARS + 100
    assert failed.classes[-1] == "builtins:BaseException"


class Peculiar(ValueError):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)


def test_a_failure_is_rebuilt_as_the_first_class_that_can_be_found() -> None:
    path = f"{__name__}:Peculiar"
    error = rebuilt_error(["nowhere:Gone", path, "builtins:ValueError"], "the message")
    assert type(error) in (Peculiar, ValueError)
    assert str(error) == "the message"
    ours = rebuilt_error(["orchestrator.errors:NotFound"], "gone")
    assert isinstance(ours, NotFound)
    assert ours.message == "gone"
    assert type(rebuilt_error(["nowhere:Gone"], "gone")) is StepError


# ---- keys of calls


def call(**args: Expr) -> str:
    return call_key(Node("n", "stage", StageSpec("n", "m:n", "code"), args))


def const(value: Any) -> Const:
    return Const(cell=encode_cell(value))


def test_the_key_of_a_call_follows_from_code_and_inputs_only() -> None:
    assert call(x=const(1)) == call(x=const(1))
    different = [
        call(x=const(1)),
        call(x=const(2)),
        call(y=const(1)),
        call(x=const("1")),
        call(x=SecretRef("1")),
        call(x=ListExpr((const(1),))),
        call(x=ListExpr((const(1),), is_tuple=True)),
        call(x=DictExpr({"k": const(1)})),
        call(x=const(1), y=const(1)),
        call_key(Node("n", "stage", StageSpec("n", "m:n", "other"), {"x": const(1)})),
        call_key(Node("n", "stage", StageSpec("n", "m:n", "code"), {"x": const(1)}, mapped=("x",))),
    ]
    assert len(set(different)) == len(different)
    assert call_key(Node("other", "stage", StageSpec("n", "m:n", "code"), {"x": const(1)})) == different[0]


def test_what_was_used_is_divided_by_time_and_adds_up() -> None:
    assert shares(10, [1, 1, 2]) == [2, 3, 5]
    assert shares(7, [0, 0]) == [3, 4]
    assert shares(5, []) == []
    assert sum(shares(1_000_003, [3, 0, 8, 1])) == 1_000_003


def test_a_long_body_has_figures_of_its_own() -> None:
    sent: list[Any] = []
    outbox = Outbox(lambda data: sent.append(decode_from_worker(data)), lambda data: "")
    outbox.begin()
    outbox.complete_single("b", "small", b"\x01", 100, None, None)
    until = time.process_time() + 0.06
    while time.process_time() < until:
        pass
    outbox.complete_single("b", "long", b"\x01", 60_000, None, None)
    outbox.complete_single("b", "after", b"\x01", 100, None, None)
    outbox.flush("b", finished=True)
    (frame,) = sent
    assert isinstance(frame, Outcomes)
    assert [single.nodes for single in frame.singles] == [["small"], ["long"], ["after"]]
    assert frame.singles[1].cpu_us >= 55_000
    assert frame.singles[0].cpu_us + frame.singles[2].cpu_us < 50_000
    assert all(single.peak_bytes > 1_000_000 for single in frame.singles)
