"""Stages that do what stages do wrong; in a module of their own, so that workers import them."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import dynamic, stage, step


@dataclass
class Pair:
    left: int
    right: list[int]


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("this cannot be pickled")


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (_leave_mark, (self.path,))


def _leave_mark(path: str) -> str:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    return path


class Ugly(Exception):
    def __str__(self) -> str:
        raise SystemExit("no message for you")


@stage
def add(x: int, y: int = 1) -> int:
    return x + y


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@stage
def numbers(n: int) -> list[int]:
    return list(range(n))


@stage
def pair(x: int) -> Pair:
    return Pair(x, [x, x + 1])


@stage
def grow(x: int, xs: list[int]) -> int:
    xs.append(1)
    return len(xs)


@stage
def variadic(first: int, /, *rest: int, scale: int = 1, **named: int) -> int:
    return scale * (first + sum(rest) + sum(named.values()))


@stage
def fail_on(x: int, bad: int) -> int:
    if x == bad:
        raise ValueError(f"{x} is bad")
    return x


@stage
def exit_on(x: int, bad: int) -> int:
    if x == bad:
        time.sleep(0.2)  # outcomes of the items before have left by then
        os._exit(3)
    return x


@stage
def kill_on(x: int, bad: int) -> int:
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@stage
def leave(x: int) -> int:
    sys.exit(f"leaving {x}")


@stage
def ugly(x: int) -> int:
    raise Ugly


@stage(timeout=1)
def sleep_long(x: int) -> int:
    time.sleep(600)
    return x


@stage(timeout=1)
def spin(x: int) -> int:
    while True:
        x += 1


@stage(timeout=1)
def stubborn(path: str) -> int:
    """Ignores interruptions, and has a child that hides in a session of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path(path).write_text(str(child.pid))
    while True:
        try:
            time.sleep(600)
        except BaseException:
            continue


@stage(timeout=1)
def hold_gil(x: int) -> int:
    re.match(r"(a+)+$", "a" * 64 + "b")
    return x


@stage(timeout=1)
def wait_for_child(path: str) -> int:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(str(child.pid))
    return child.wait()


@stage
def leave_child(path: str) -> int:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path(path).write_text(str(child.pid))
    return 0


@stage
def run_until(path: str) -> int:
    """Says that it runs, then runs for ten minutes."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)
    return 0


@stage
def give_unpicklable(x: int) -> Any:
    return Unpicklable()


@stage
def raise_unpicklable(x: int) -> Any:
    raise RuntimeError(Unpicklable())


@stage
def give_hostile(path: str) -> Any:
    return Hostile(path)


@stage
def take_any(value: Any) -> str:
    return type(value).__name__


@stage
def shout(megabytes: int) -> int:
    line = "x" * 1023 + "\n"
    for _ in range(megabytes * 1024):
        sys.stdout.write(line)
    return megabytes


@stage
def speak(x: int) -> int:
    print(f"python {x}")
    subprocess.run(["echo", f"child {x}"], check=True)
    return x


@stage
def tell(secret: str) -> int:
    print(f"python says {secret}")
    subprocess.run(["echo", f"the child says {secret}"], check=True)
    return len(secret)


@stage
def reveal(secret: str) -> int:
    raise ValueError(f"the password is {secret}")


@stage
def change_surroundings(x: int) -> int:
    os.environ["LEFT_BEHIND"] = "1"
    os.environ.pop("HOME", None)
    os.chdir("/")
    sys.stdout = sys.stderr
    random.seed(0)
    return x


@stage
def look_around(x: int) -> list[Any]:
    return [os.environ.get("LEFT_BEHIND"), "HOME" in os.environ, os.getcwd(), sys.stdout is sys.stderr]


@stage
def draw(x: int) -> list[float]:
    import numpy as np

    return [random.random(), float(np.random.rand()), step().random.random(), float(step().seed)]


@stage
def describe_step(x: int) -> list[Any]:
    here = step()
    here.report(loss=0.5, x=x)
    return [here.run_id, here.node, here.index, here.attempt, here.key]


@stage
def fork_and_return(x: int) -> int:
    os.fork()
    return x


@stage(streaming=True)
def count(n: int, path: str = "") -> Iterator[int]:
    for number in range(n):
        if path:
            with open(path, "a") as file:
                file.write(f"{number}\n")
        yield number


@stage(streaming=True)
def drift(n: int) -> Iterator[float]:
    for _ in range(n):
        yield time.time()


@stage
def sleep_s(x: int, seconds: float) -> int:
    time.sleep(seconds)
    return x


@dynamic
def add_up(n: int) -> int:
    found = 0
    for _ in range(n):
        found = add(found, 1)
    return found


@dynamic
def nested(depth: int) -> int:
    return 0 if depth == 0 else add(nested(depth - 1))


@dynamic
def map_inside(n: int) -> list[int]:
    return add.map(list(range(n)))


@dynamic
def catch_inside(x: int) -> str:
    try:
        fail_on(x, x)
    except ValueError as error:
        return f"caught {error}"
    return "nothing to catch"


@dynamic
def call_from_thread(x: int) -> str:
    import contextvars
    import threading

    found: list[str] = []
    context = contextvars.copy_context()

    def body() -> None:
        try:
            context.run(add, x)
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return found[0]
