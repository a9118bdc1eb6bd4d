"""Processes for a crash sweep, forked from one that has everything loaded and no threads.

``main`` loads the subject that lies pickled in a folder, then reads one order after the other from standard input (JSON
lines) and answers each on standard output. Forking takes milliseconds where a fresh interpreter with the user's
libraries takes seconds.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import signal
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.testing.crash import CrashPoint
from orchestrator.testing.universe import Loaded, Places, Subject, drive, judge

_TURN_S = 0.002


@dataclass(frozen=True)
class Order:
    """What is to happen in a universe: a process for each death, then one that ends the run and judges it.

    Attributes:
        deaths: Number and moment of the write at which each process dies.
        ends: False to leave the universe as the last death has left it.
        repeats: Steps are called twice, to see whether that makes a difference.
        limit_s: Longest time for one process.
    """

    folder: str
    deaths: tuple[tuple[int, str], ...] = ()
    ends: bool = True
    repeats: bool = False
    limit_s: float = 120.0


@dataclass(frozen=True)
class Done:
    """How an order went.

    Attributes:
        died: For each death, whether the process died as it was told to; it may have ended before.
        hung: The last process did not end in time and was killed.
        error: Why the last process failed; empty if it did not.
        left: Processes that it left behind.
    """

    died: tuple[bool, ...]
    hung: bool = False
    error: str = ""
    left: bool = False
    processes: int = 0


def main(folder: Path) -> None:
    """Answer orders until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the user's modules print while they are imported is no answer
    loaded = Loaded.of(_subject(folder))
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        told = json.loads(line)
        told["deaths"] = tuple(tuple(death) for death in told["deaths"])
        done = carry_out(Order(**told), loaded)
        answers.write(json.dumps(asdict(done)) + "\n")
        answers.flush()
        _learn_modules(folder / "modules")


def _subject(folder: Path) -> Subject:
    found: Subject = pickle.loads((folder / "subject").read_bytes())
    return found


def _learn_modules(path: Path) -> None:
    """Load what a driver has loaded on its way, so that the next ones find it."""
    if path.exists():
        for name in path.read_text().split():
            if name not in sys.modules:
                importlib.import_module(name)


def carry_out(order: Order, loaded: Loaded) -> Done:
    """Run the processes of a universe one after the other."""
    died: list[bool] = []
    for number, moment in order.deaths:
        ended = _forked(order, loaded, CrashPoint(number, moment), False)  # type: ignore[arg-type]
        died.append(ended.signal == signal.SIGKILL and not ended.hung)
        if ended.hung or ended.code:
            return Done(tuple(died), ended.hung, ended.error, ended.left, len(died))
    if not order.ends:
        return Done(tuple(died), processes=len(died))
    ended = _forked(order, loaded, None, True)
    return Done(tuple(died), ended.hung, ended.error, ended.left, len(died) + 1)


@dataclass(frozen=True)
class _Ended:
    code: int
    signal: int
    hung: bool
    left: bool
    error: str


def _forked(order: Order, loaded: Loaded, point: CrashPoint | None, judges: bool) -> _Ended:
    output = Path(order.folder) / "output"
    pid = os.fork()
    if pid == 0:
        _be_driver(order, loaded, point, judges, output)
    deadline, hung = time.monotonic() + order.limit_s, False
    while (waited := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline and not hung:
            hung = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(_TURN_S)
    left = _end_group(pid)
    status = waited[1]
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    error = output.read_text(errors="replace")[-3000:] if code or (killed and killed != signal.SIGKILL) else ""
    return _Ended(code, killed, hung, left, error)


def _end_group(leader: int) -> bool:
    """End what a driver has left in its process group; True if there was anything."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody; on macOS also when only zombies are left
        return False
    return True


def _be_driver(order: Order, loaded: Loaded, point: CrashPoint | None, judges: bool, output: Path) -> None:
    """The rest of a forked process's life."""
    code = 1
    try:
        os.setpgid(0, 0)
        began = time.time()
        for target, path, flags in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
            os.dup2(os.open(path, flags, 0o600), target)
        os.dup2(1, 2)
        places = Places(Path(order.folder))
        installation = drive(loaded, places, point, order.repeats)
        installation.close()
        if judges:
            judge(loaded, places, installation.writes, began)
            _note_modules(places.folder.parent / "modules")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _note_modules(path: Path) -> None:
    if not path.exists():
        names = [name for name in sys.modules if name.partition(".")[0] == "orchestrator"]
        path.write_text("\n".join(names))
