"""A process that does what takes authors' code: its answers, and what becomes of code that ends or hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from select import select

import pytest

from orchestrator.app.asking import Asked, Asking
from orchestrator.app.declared import Triggered, Watched
from orchestrator.app.installation import Installation
from orchestrator.app.launching import Begun, Declarations, Declare, Inspect, Inspected, Order, Start, launch
from orchestrator.app.reading import Keeper
from orchestrator.app.run import Run
from orchestrator.app.triggering import TriggersReader
from orchestrator.config.settings import Settings
from orchestrator.errors import MissingArgument, NotFound, RunError
from orchestrator.triggers import webhook

FLOW = "from orchestrator import pipeline, stage\n\n@stage\ndef one(x: int) -> int:\n    return x\n\n"


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home"), "ORC_SLOTS": "1"}))


def inspect(here: Installation, folder: Path, what: str, limit_s: float = 60.0) -> Inspected:
    return launch(here, Order(inspect=Inspect(what=what, values={})), Inspected, folder, limit_s)


def test_code_that_prints_or_ends_or_hangs_does_nothing_to_who_asked(here: Installation, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        f'print(\'{{"run": "no"}}\')\n{FLOW}@pipeline\ndef flow() -> int:\n    return one(1)\n'
    )
    (tmp_path / "dead.py").write_text("import os, sys\nsys.stderr.write('so long')\nsys.stderr.flush()\nos._exit(3)\n")
    (tmp_path / "slow.py").write_text(
        "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(600)\n"
    )
    loud = inspect(here, tmp_path, "loud:flow")
    assert (loud.pipeline, [node.node for node in loud.nodes]) == ("flow", ["one"])
    with pytest.raises(RunError, match="ended without an answer: so long"):
        inspect(here, tmp_path, "dead:flow")
    with pytest.raises(RunError, match="no plan within 8 s"):
        inspect(here, tmp_path, "slow:flow", 8.0)
    deadline = time.monotonic() + 60
    while is_there(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(NotFound, match="there is no module 'gone'"):
        inspect(here, tmp_path, "gone:flow")


HANGING = """
import os, signal
told = open("told", "w")
told.write(f"{os.getpid()}\\n")
told.flush()
while True:
    signal.pause()
"""
"""Code that says its process through a pipe in the file system, which is closed when that process has ended."""


class Hanging:
    """Code of a project that hangs: the time for an answer is over as soon as it does."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "hanging.py").write_text(HANGING)
        os.mkfifo(folder / "told")
        self._pipe = os.open(folder / "told", os.O_RDONLY | os.O_NONBLOCK)
        monkeypatch.setattr("orchestrator.app.launching._read", self._read)

    def _read(self, pipe: int, limit_s: float) -> bytes | None:
        assert select([self._pipe], [], [], 120)[0]
        self.pid = int(os.read(self._pipe, 100))
        return None

    def ended(self) -> bool:
        """Whether its process has."""
        return bool(select([self._pipe], [], [], 10)[0]) and os.read(self._pipe, 1) == b""

    def close(self) -> None:
        """End the process if it is there."""
        os.close(self._pipe)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    found = Hanging(tmp_path, monkeypatch)
    yield found
    found.close()


def test_code_that_does_not_say_what_it_declares_is_ended(here: Installation, tmp_path: Path, hanging: Hanging) -> None:
    (tmp_path / "flow.yaml").write_text("pipeline: hanging:flow\n")
    declare = Declare(files=[str(tmp_path / "flow.yaml")])
    with pytest.raises(RunError, match="the project's code did not say what it declares within 120 s") as refused:
        launch(here, Order(declare=declare), Declarations, tmp_path, 120.0)
    assert (hanging.ended(), "key" in str(refused.value)) == (True, False)


def test_a_triggered_run_that_has_not_begun_in_time_begins_no_more(
    here: Installation, tmp_path: Path, hanging: Hanging
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "flow.yaml").write_text("pipeline: hanging:flow\n")
    hook = webhook("go")
    flow = Triggered("flow", tmp_path / "configs" / "flow.yaml", (Watched("flow.go", hook),), concurrency=1)
    reader = TriggersReader(here, tmp_path, lambda: [flow], beside=lambda work: work())
    Asking(here, tmp_path).ask(Asked("flow.go/one", "flow.go", "flow", 1.0, "an event", "webhook"))
    keeper = Keeper(here, reader)
    for _ in range(2):
        keeper.round()
    (firing,) = reader.totals().firings
    assert ("no run has begun within 600 s" in firing.problem, firing.tries) == (True, 1)
    assert hanging.ended()  # another may begin, and this one will not beside it


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_key_has_one_run_and_errors_keep_their_class(here: Installation, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(f"{FLOW}@pipeline\ndef flow(x: int) -> int:\n    return one(x)\n")

    def start(values: dict[str, str]) -> str:
        order = Order(start=Start(what="own:flow", values=values, tags={"by": "me"}, on="local", key="k"))
        return launch(here, order, Begun, tmp_path).run

    with pytest.raises(MissingArgument):
        start({})
    first = start({"x": "3"})
    assert start({"x": "3"}) == first
    run = Run(here, first).wait("120s")
    assert (run.state, run.result(), here.journal.run(first).tags) == ("succeeded", 3, {"by": "me"})


def test_a_run_goes_on_although_whoever_asked_for_it_is_gone(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain.py").write_text(f"{FLOW}@pipeline\ndef flow() -> int:\n    return one(1)\n")

    def gone(pipe: int, limit_s: float) -> bytes:
        raise InterruptedError

    monkeypatch.setattr("orchestrator.app.launching._read", gone)  # and the pipe is closed before the answer comes
    start = Start(what="plain:flow", values={}, tags={}, on=None, key="k")
    with pytest.raises(InterruptedError):
        launch(here, Order(start=start), Begun, tmp_path)
    deadline = time.monotonic() + 120
    while (run := here.journal.run_of_key("k")) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert Run(here, run).wait("120s").state == "succeeded"
