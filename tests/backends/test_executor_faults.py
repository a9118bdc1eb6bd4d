"""What every executor does with steps that raise, end their worker, never end, or return what cannot be sent."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from orchestrator import Secret
from orchestrator.graph.policy import Resources
from orchestrator.ports.frames import Segment
from tests.backends import faulty
from tests.backends.conftest import Bench
from tests.backends.conversation import Conversation, traced, whole

TIMED_OUT = "orchestrator.errors:StepTimedOut"
ENDED_S = 60.0
"""The longest a step of a one-second time-out may take to be over: ten seconds after it."""


def is_running(pid: int) -> bool:
    """True if there is such a process, and it is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid: int, limit_s: float = 5.0) -> None:
    deadline = time.monotonic() + limit_s
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def ends_in_time(talk: Conversation) -> float:
    """Wait for the end of everything; seconds since the first step could start."""
    talk.until(lambda: bool(talk.accepted))
    started = time.monotonic()
    talk.finish(limit_s=30)
    return time.monotonic() - started


# ---- failures


def test_a_step_that_raises_fails_alone(bench: Bench) -> None:
    graph = traced(lambda: faulty.fail_on.map(list(range(20)), bad=7))
    talk = bench.talk(graph)
    talk.submit(whole(graph, 20))
    talk.finish()
    assert set(talk.items("fail_on")) == set(range(20)) - {7}
    failed = talk.failed["fail_on", 7]
    assert failed.classes == ["builtins:ValueError", "builtins:Exception", "builtins:BaseException"]
    assert failed.message == "7 is bad"


@pytest.mark.parametrize(
    ("name", "cls", "message"),
    [
        ("leave", "builtins:SystemExit", "leaving 1"),
        ("ugly", "tests.backends.faulty:Ugly", "cannot be shown: SystemExit"),
        ("give_unpicklable", "orchestrator.errors:ResultNotEncodable", "this cannot be pickled"),
        ("raise_unpicklable", "builtins:RuntimeError", "Unpicklable"),
    ],
)
def test_what_cannot_be_sent_or_shown_is_a_failure_of_its_step(bench: Bench, name: str, cls: str, message: str) -> None:
    graph = traced(lambda: getattr(faulty, name).map([1, 2]))
    talk = bench.talk(graph)
    talk.submit(whole(graph, 2))
    talk.finish()
    assert talk.failed[name, 0].classes[0] == cls
    assert message in talk.failed[name, 0].message
    assert (name, 1) in talk.failed
    assert not talk.lost


def test_a_hostile_result_runs_only_where_it_is_loaded(process_bench: Bench) -> None:
    mark = process_bench.root / "mark"
    graph = traced(lambda: faulty.take_any(faulty.give_hostile(str(mark))))
    talk = process_bench.talk(graph)
    talk.submit(whole(graph))
    talk.finish()
    assert not mark.exists()
    talk.submit(whole(graph, place=1, inputs=[talk.output("give_hostile")]))
    talk.finish()
    assert talk.value("take_any") == "str"
    assert str(os.getpid()) not in mark.read_text().split()


def test_a_corrupt_input_is_a_failure_of_its_step(bench: Bench) -> None:
    graph = traced(lambda: faulty.total(faulty.numbers(100_000)))
    talk = bench.talk(graph)
    talk.submit(whole(graph))
    talk.finish()
    for file in (bench.root / "artifacts").rglob("*"):
        if file.is_file() and file.stat().st_size > 100_000:
            file.chmod(0o600)
            file.write_bytes(b"\0" * file.stat().st_size)
    talk.submit(whole(graph, place=1, inputs=[talk.output("numbers")]))
    talk.finish()
    assert talk.failed["total", 0].classes[0] == "orchestrator.errors:ArtifactCorrupt"


# ---- ends of workers


@pytest.mark.parametrize("name", ["exit_on", "kill_on"])
def test_the_end_of_a_worker_is_reported_with_what_it_owed(process_bench: Bench, name: str) -> None:
    graph = traced(lambda: getattr(faulty, name).map(list(range(10)), bad=6))
    talk = process_bench.talk(graph)
    first = talk.submit(whole(graph, 10))
    talk.finish()
    assert [lost.bundles for lost in talk.lost] == [(first,)]
    assert not talk.lost[0].timed_out
    delivered = set(talk.items(name))
    assert delivered <= set(range(6))
    if name == "exit_on":
        assert delivered == set(range(6))
    for index in set(range(10)) - delivered - {6}:
        talk.submit(Segment(name, index, index + 1, []))
    talk.submit(Segment(name, 6, 7, []), alone=True)
    talk.finish()
    assert set(talk.items(name)) == set(range(10)) - {6}
    assert len(talk.lost) == 2


def test_a_forked_child_that_comes_back_says_nothing(process_bench: Bench) -> None:
    graph = traced(lambda: faulty.fork_and_return.map([1, 2, 3]))
    talk = process_bench.talk(graph)
    talk.submit(whole(graph, 3))
    talk.finish()
    assert talk.items("fork_and_return") == {0: 1, 1: 2, 2: 3}


def test_children_of_steps_end_with_their_worker(process_bench: Bench) -> None:
    path = process_bench.root / "child"
    graph = traced(lambda: faulty.leave_child(str(path)))
    talk = process_bench.talk(graph)
    talk.submit(whole(graph))
    talk.finish()
    child = int(path.read_text())
    assert is_running(child)
    talk.executor.close()
    wait_until_gone(child)


# ---- time-outs


@pytest.mark.parametrize("name", ["sleep_long", "spin"])
def test_a_step_past_its_time_out_is_interrupted(bench: Bench, name: str) -> None:
    graph = traced(lambda: getattr(faulty, name)(1))
    talk = bench.talk(graph)
    talk.submit(whole(graph), timeout_s=1.0)
    assert ends_in_time(talk) < ENDED_S
    assert talk.failed[name, 0].classes[0] == TIMED_OUT
    assert not talk.lost


def test_a_step_that_holds_the_interpreter_is_killed(process_bench: Bench) -> None:
    graph = traced(lambda: faulty.hold_gil(1))
    talk = process_bench.talk(graph)
    bundle = talk.submit(whole(graph), timeout_s=1.0)
    assert ends_in_time(talk) < ENDED_S
    assert [(lost.bundles, lost.timed_out) for lost in talk.lost] == [((bundle,), True)]


def test_a_step_that_waits_for_a_child_ends_with_it(process_bench: Bench) -> None:
    path = process_bench.root / "child"
    graph = traced(lambda: faulty.wait_for_child(str(path)))
    talk = process_bench.talk(graph)
    talk.submit(whole(graph), timeout_s=1.0)
    assert ends_in_time(talk) < ENDED_S
    assert talk.failed["wait_for_child", 0].classes[0] == TIMED_OUT
    talk.executor.close()
    wait_until_gone(int(path.read_text()))


def test_a_step_that_ignores_its_interruption_ends_with_its_worker_and_neighbours_survive(process_bench: Bench) -> None:
    path = process_bench.root / "child"
    graph = traced(lambda: (faulty.add(1), faulty.stubborn(str(path)), faulty.add(2)))
    talk = process_bench.talk(graph)
    before, stubborn, after = (node.id for node in graph.graph.nodes)
    talk.submit(*(Segment(node, 0, 1, []) for node in (before, stubborn, after)), timeout_s=1.0)
    assert ends_in_time(talk) < ENDED_S
    assert talk.value(before) == 2
    assert talk.failed[stubborn, 0].classes[0] == TIMED_OUT
    assert (after, 0, 1) in talk.released
    wait_until_gone(int(path.read_text()))


# ---- cancelling


def test_a_running_step_is_cancelled(process_bench: Bench) -> None:
    path = process_bench.root / "running"
    graph = traced(lambda: faulty.run_until(str(path)))
    talk = process_bench.talk(graph)
    bundle = talk.submit(whole(graph))
    talk.until(path.exists)
    started = time.monotonic()
    talk.executor.cancel(bundle)
    talk.finish()
    assert time.monotonic() - started < 5
    assert talk.failed["run_until", 0].classes[0] == "orchestrator.errors:StepCancelled"


def test_closing_ends_running_steps_at_once(process_bench: Bench) -> None:
    path = process_bench.root / "running"
    graph = traced(lambda: faulty.run_until(str(path)))
    talk = process_bench.talk(graph)
    talk.submit(whole(graph))
    talk.until(lambda: path.exists() and bool(path.read_text()))
    talk.executor.close()
    wait_until_gone(int(path.read_text()))


# ---- output


def test_output_of_steps_and_their_children_is_kept_apart(process_bench: Bench) -> None:
    graph = traced(lambda: faulty.speak.map([1, 2]))
    talk = process_bench.talk(graph)
    talk.submit(whole(graph, 2))
    talk.finish()
    assert talk.log(process_bench.logs, "speak", 0) == "python 1\nchild 1\n"
    assert talk.log(process_bench.logs, "speak", 1) == "python 2\nchild 2\n"


def test_a_step_that_prints_without_end_is_cut_to_its_share(process_bench: Bench) -> None:
    process_bench.step_log_bytes = 64 * 1024
    graph = traced(lambda: (faulty.shout(50), faulty.speak(1)))
    talk = process_bench.talk(graph)
    shout, speak = (node.id for node in graph.graph.nodes)
    talk.submit(Segment(shout, 0, 1, []), Segment(speak, 0, 1, []))
    talk.finish()
    text = talk.log(process_bench.logs, shout)
    assert 60 * 1024 < len(text) < 70 * 1024
    assert "more bytes of this step were not kept" in text
    assert talk.log(process_bench.logs, speak) == "python 1\nchild 1\n"
    assert sum(file.stat().st_size for file in process_bench.logs.iterdir()) < 100 * 1024


def test_secrets_are_blotted_out_of_the_log(process_bench: Bench) -> None:
    password = process_bench.root / "password"
    password.write_text("open sesame\n")
    graph = traced(lambda: faulty.tell(Secret(f"file:{password}")))
    talk = process_bench.talk(graph)
    talk.submit(whole(graph))
    talk.finish()
    assert talk.value("tell") == len("open sesame")
    text = talk.log(process_bench.logs, "tell")
    assert text == "python says ***\nthe child says ***********\n"


# ---- surroundings


def test_a_step_does_not_see_what_another_did_to_the_process(process_bench: Bench) -> None:
    graph = traced(lambda: (faulty.look_around(0), faulty.change_surroundings(1), faulty.look_around(2)))
    talk = process_bench.talk(graph)
    before, change, after = (node.id for node in graph.graph.nodes)
    talk.submit(*(Segment(node, 0, 1, []) for node in (before, change, after)))
    talk.finish()
    assert talk.value(after) == talk.value(before)


# ---- places


def test_a_step_that_needs_more_than_there_is_is_refused(process_bench: Bench) -> None:
    graph = traced(lambda: faulty.add(1))
    talk = process_bench.talk(graph)
    talk.submit(whole(graph), alone=True, heavy=Resources(num_cpus=1000))
    talk.finish()
    assert "1000" in talk.refused[0].message


def test_heavy_steps_wait_for_their_resources(process_bench: Bench) -> None:
    graph = traced(lambda: faulty.sleep_s.map(list(range(4)), seconds=0.1))
    talk = process_bench.talk(graph)
    for index in range(4):
        talk.submit(Segment("sleep_s", index, index + 1, []), alone=True, heavy=Resources(num_cpus=2))
    talk.finish(limit_s=60)
    assert set(talk.items("sleep_s")) == {0, 1, 2, 3}
    assert len({accepted.worker for accepted in talk.accepted}) == 4


def test_a_step_that_must_be_alone_shares_its_worker_with_nobody(process_bench: Bench) -> None:
    graph = traced(lambda: faulty.sleep_s.map(list(range(12)), seconds=0.05))
    talk = process_bench.talk(graph)
    for index in range(12):
        talk.submit(Segment("sleep_s", index, index + 1, []), alone=index == 6)
    talk.finish()
    assert set(talk.items("sleep_s")) == set(range(12))
