"""Runs that are awaited and watched: inside running event loops, off the main thread, and in a terminal."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from pathlib import Path

import pytest

from orchestrator import RunFailed, pipeline, stage
from orchestrator.app.installation import shared
from orchestrator.app.run import Run
from orchestrator.app.runs import Runs
from orchestrator.engine.driver import Driver
from orchestrator.graph.fact import FINISHED
from orchestrator.graph.pipeline import RunOptions
from orchestrator.notebook.progress import FIRST_S, Lines, Progress
from orchestrator.testing import InProcess
from tests.api import flow

GO = threading.Event()


@stage
def held(x: int) -> int:
    GO.wait(60)
    return 10 * x


@pipeline
def holding(n: int = 3) -> list[int]:
    return held.map(list(range(n)))


@stage
def counted(n: int) -> int:
    return sum(range(n))


@pipeline
def counting(n: int) -> int:
    return counted(n)


@pytest.fixture
def process(tmp_path: Path) -> InProcess:
    GO.clear()
    return InProcess(tmp_path / "home")


def test_a_run_is_awaited_without_blocking_the_loop(process: InProcess) -> None:
    async def main() -> tuple[Run, int]:
        turns = 0

        async def beside() -> None:
            nonlocal turns
            while not GO.is_set():
                await asyncio.sleep(0.001)
                turns += 1
                if turns == 20:
                    GO.set()

        task = asyncio.create_task(beside())
        run = await process.start(holding)
        await task
        return run, turns

    run, turns = asyncio.run(main())
    assert (run.state, run.result()) == ("succeeded", [0, 10, 20])
    assert turns >= 20


def test_several_runs_are_awaited_together(process: InProcess) -> None:
    GO.set()

    async def main() -> list[Run]:
        return list(await asyncio.gather(*(process.start(holding, n=n) for n in (1, 2, 3))))

    assert [len(run.result()) for run in asyncio.run(main())] == [1, 2, 3]


def test_awaiting_says_what_became_of_the_run(process: InProcess) -> None:
    async def main() -> None:
        await process.start(flow.failing)

    with pytest.raises(RunFailed, match="no <end>"):
        asyncio.run(main())


def test_a_cancelled_await_leaves_the_run_going(process: InProcess) -> None:
    async def main() -> Run:
        run = process.start(holding)

        async def awaiting() -> None:
            await run

        task = asyncio.create_task(awaiting())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert run.state not in FINISHED
        GO.set()
        return await run

    assert asyncio.run(main()).result() == [0, 10, 20]


def test_a_run_of_somebody_else_is_awaited_by_its_record(process: InProcess) -> None:
    GO.set()
    run = process.run(holding)

    async def main() -> Run:
        return await Runs(process.installation)[run.id]

    assert asyncio.run(main()).result() == [0, 10, 20]


def test_a_pipeline_runs_inside_a_running_loop_and_off_the_main_thread(process: InProcess) -> None:
    GO.set()

    async def main() -> list[list[int]]:
        here = process.run(holding, n=1).result()
        return [here, await asyncio.to_thread(lambda: process.run(holding, n=2).result())]

    assert asyncio.run(main()) == [[0], [0, 10]]


def test_off_the_main_thread_with_workers_and_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORC_SLOTS", "1")

    async def main() -> int:
        return await asyncio.to_thread(lambda: counting.run(n=4).result())

    assert asyncio.run(main()) == 6
    assert shared().get().journal.runs("counting")[0].state == "succeeded"


def test_a_watched_run_writes_lines_where_there_is_no_notebook(
    process: InProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    run = process.start(holding, n=4)
    with pytest.raises(TimeoutError, match="goes on"):
        run.watch(timeout=0.1)
    threading.Timer(2 * FIRST_S, GO.set).start()
    run.watch()
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"{run.id} ") for line in lines)
    assert "succeeded: 4/4 steps" in lines[-1]
    assert len(lines) == len(set(lines))
    assert run.result() == [0, 10, 20, 30]


def test_an_interrupted_watch_leaves_a_run_that_can_be_resumed(
    process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes while the first line is written; the step goes on until the driver knows that it is to stop."""
    interrupt = Driver.interrupt

    def interrupted(driver: Driver) -> None:
        interrupt(driver)
        GO.set()

    monkeypatch.setattr(Driver, "interrupt", interrupted)
    monkeypatch.setattr(Lines, "show", lambda *_: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    run = process.start(holding)
    try:
        with pytest.raises(KeyboardInterrupt):
            run.watch()
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.state not in FINISHED
    assert process.resume(run.id).result() == [0, 10, 20]


def test_a_short_run_writes_nothing(process: InProcess, capsys: pytest.CaptureFixture[str]) -> None:
    GO.set()
    process.start(holding).wait().watch()
    assert capsys.readouterr().err == ""


def test_without_a_notebook_a_run_says_nothing(process: InProcess, capsys: pytest.CaptureFixture[str]) -> None:
    threading.Timer(1.5 * FIRST_S, GO.set).start()
    process.runner.run(holding, {"n": 1}, RunOptions())
    assert capsys.readouterr() == ("", "")


def test_watching_costs_a_small_part_of_the_time(process: InProcess) -> None:
    """The longer it takes to look, the rarer it is done."""

    class Slow:
        pause_s = 0.0
        shown = 0

        def show(self, html: str, text: str) -> None:
            time.sleep(0.02)
            self.shown += 1

    run, display = process.start(holding), Slow()
    progress = Progress(run, display)
    ends = time.monotonic() + FIRST_S + 1.0
    while time.monotonic() < ends:
        progress.look()
        time.sleep(0.001)
    GO.set()
    run.wait()
    assert 1 <= display.shown <= 4  # each look is followed by 25 times its own duration


def test_a_display_that_fails_does_not_take_the_run_with_it(
    process: InProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        pause_s = 0.0

        def show(self, html: str, text: str) -> None:
            raise OSError("the browser has gone")

    run = process.start(holding)
    progress = Progress(run, Broken())
    ends = time.monotonic() + 2.0
    while time.monotonic() < ends:
        progress.look()
        time.sleep(0.01)
    GO.set()
    progress.close()
    assert run.result() == [0, 10, 20]
    assert capsys.readouterr().err.count("the browser has gone") == 1
