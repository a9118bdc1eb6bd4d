"""What step bodies do when they are told to: die in the middle, or just after they have returned.

An order is a file named after the step; whoever takes it renames it, so each is obeyed once. Nothing of the engine is
involved, so an order strikes the same step however the engine placed it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from orchestrator import step
from orchestrator.testing import write_ledger

DIE = "die"
DIE_AFTER_RETURN = "die after return"

_AFTER_RETURN_S = 0.004
"""Less than the 20 ms in which a worker collects outcomes into a frame."""


def give(folder: Path, address: str, order: str) -> None:
    """Order the step at an address to do something, once."""
    path = _orders(folder) / address.replace("/", "+")
    path.parent.mkdir(exist_ok=True)
    path.write_text(order)


def taken(folder: Path) -> int:
    """How many orders have been obeyed."""
    return len(list(_orders(folder).glob("*.taken")))


def at_work(folder: str, seconds: float, payload: str = "", with_key: bool = False) -> None:
    """Be a step: leave evidence, take time, and obey in the middle of it."""
    write_ledger(f"{folder}/ledger", payload, with_key)
    time.sleep(seconds / 2)
    _obey(_orders(Path(folder)) / step().address.replace("/", "+"))
    time.sleep(seconds / 2)


def _obey(path: Path) -> None:
    mine = path.with_name(path.name + ".taken")
    try:
        path.rename(mine)
    except FileNotFoundError:
        return
    order = mine.read_text()
    if order == DIE:
        _die()
    elif order == DIE_AFTER_RETURN:
        threading.Timer(_AFTER_RETURN_S, _die).start()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _orders(folder: Path) -> Path:
    return folder / "orders"
