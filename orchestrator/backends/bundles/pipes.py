"""Workers as processes of this machine, behind socket pairs.

Everything here happens in ``pump``, in the driver's own thread: no reader threads, no hand-over. Frames carry
their length in front. A worker leads a session of its own and dies with its driver: it sees the end of
the socket, and a guard process ends those that cannot look.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from orchestrator.backends.bundles import orphans
from orchestrator.backends.bundles.transport import Death, Sink, WorkerNeeds, WorkerSettings, log_path
from orchestrator.errors import WorkerStartFailed
from orchestrator.graph.policy import Resources

READ_BYTES = 1 << 18
LOOK_S = 0.1
"""How often processes are asked whether they have ended: a child of a step may hold the socket open after its worker."""
STOP_S = 5.0

_ROOT = str(Path(__file__).resolve().parents[3])
_START = "import sys; sys.path.insert(0, sys.argv[1]); from orchestrator.app.worker import main; main(sys.argv[2])"


@dataclass(slots=True, eq=False)
class PipeChannel:
    """One worker process; see ``transport.Channel``."""

    name: str
    needs: WorkerNeeds
    process: subprocess.Popen[bytes]
    socket: socket.socket
    sink: Sink
    mark: str
    alive: bool = True
    heard: bool = False
    closing_until: float | None = None
    received: bytearray = field(default_factory=bytearray)
    unsent: deque[memoryview] = field(default_factory=deque)

    def send(self, data: bytes) -> None:
        """See ``Channel``."""
        if self.alive:
            self.unsent.append(memoryview(len(data).to_bytes(4, "big") + data))
            self.write()

    def write(self) -> None:
        """Send what the socket takes."""
        try:
            while self.unsent:
                sent = self.socket.send(self.unsent[0])
                if sent < len(self.unsent[0]):
                    self.unsent[0] = self.unsent[0][sent:]
                else:
                    self.unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self.unsent.clear()  # it has ended; reading will tell

    def read(self) -> bool:
        """Deliver the frames that have come; False at the end."""
        open_ = True
        try:
            data = self.socket.recv(READ_BYTES)
            open_ = bool(data)
            self.received += data
        except BlockingIOError:
            return True
        except OSError:
            open_ = False
        self._deliver()
        return open_

    def _deliver(self) -> None:
        received, start = self.received, 0
        while len(received) - start >= 4:
            stop = start + 4 + int.from_bytes(received[start : start + 4], "big")
            if len(received) < stop:
                break
            self.heard = True
            self.sink(self.name, bytes(received[start + 4 : stop]))
            start = stop
        if start:
            del received[:start]

    def kill(self) -> None:
        """See ``Channel``."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """See ``Channel``."""
        self.closing_until = time.monotonic() + STOP_S


class PipeTransport:
    """Local worker processes; see ``transport.Transport``.

    Args:
        settings: Handed to every worker.
        slots: Pool workers that may live at once.
        memory: Bytes that heavy steps may declare together; that of the machine if not given.
    """

    name = "local"

    def __init__(self, settings: WorkerSettings, slots: int, memory: int | None = None) -> None:
        self._settings = settings
        self.slots = slots
        self._memory = memory or _machine_memory()
        self._mark = secrets.token_hex(8)
        self._channels: dict[str, PipeChannel] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._guard: subprocess.Popen[bytes] | None = None
        self._looked_at = 0.0

    # ---- places

    def refusal(self, needs: WorkerNeeds) -> str | None:
        """See ``Transport``."""
        if needs.uses:
            return f"the step drives {', '.join(needs.uses)}, which local workers do not have; run it on Ray"
        need = needs.resources
        if needs.kind != "heavy":
            return None
        supply = f"this machine gives {self.slots} CPUs and {self._memory} bytes of memory, no GPUs; run it on Ray"
        for name, wanted, has in (
            ("CPUs", need.num_cpus, self.slots), ("GPUs", need.num_gpus, 0), ("bytes of memory", need.memory, self._memory),
            *((name, amount, 0) for name, amount in need.resources.items()),
        ):  # fmt: skip
            if wanted > has:
                return f"the step needs {wanted:g} {name}, but {supply}"
        for option in ("accelerator_type", "label_selector", "runtime_env"):
            if getattr(need, option):
                return f"the step asks for {option}={getattr(need, option)!r}, which local workers do not have; run it on Ray"
        return None

    def fits(self, needs: WorkerNeeds, without: Collection[str] = ()) -> bool:
        """See ``Transport``."""
        held = [c.needs.resources for c in self._channels.values() if c.needs.kind != "host" and c.name not in without]
        need = needs.resources if needs.kind != "host" else Resources(num_cpus=0)
        return (
            sum(one.num_cpus for one in held) + need.num_cpus <= self.slots
            and sum(one.memory for one in held) + need.memory <= self._memory
        )

    def start(self, name: str, needs: WorkerNeeds, sink: Sink) -> PipeChannel:
        """See ``Transport``."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        mark = f"{self._mark}/{name}"
        document = json.dumps(
            {
                "name": name,
                "kind": needs.kind,
                "socket": theirs.fileno(),
                "driver": os.getpid(),
                "mark": mark,
                "settings": asdict(self._settings),
            }
        )
        try:
            with theirs, self._log_of(name) as log:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START, _ROOT, document],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env={**os.environ, orphans.MARK: mark},
                )
        except OSError as error:
            ours.close()
            raise WorkerStartFailed(f"cannot start a worker process: {error}") from error
        ours.setblocking(False)
        channel = self._channels[name] = PipeChannel(name, needs, process, ours, sink, mark)
        self._selector.register(ours, selectors.EVENT_READ, channel)
        self._tell_guard(process.pid)
        return channel

    def _log_of(self, name: str) -> BinaryIO:
        """Where the worker's output goes until it has opened its log itself: into the same file."""
        path = log_path(self._settings, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "ab", opener=lambda file, flags: os.open(file, flags, 0o600))

    def _tell_guard(self, pid: int) -> None:
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", orphans.__file__, self._mark],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{pid}\n".encode())
        self._guard.stdin.flush()

    # ---- frames

    def pump(self, timeout_s: float) -> None:
        """See ``Transport``."""
        until = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            for channel in self._channels.values():
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.unsent else 0)
                if self._selector.get_key(channel.socket).events != wanted:
                    self._selector.modify(channel.socket, wanted, channel)
            ready = self._selector.select(min(LOOK_S, max(0.0, until - now)))
            for key, events in ready:
                self._serve(key.data, events)
            died = self._bury() if time.monotonic() - self._looked_at >= LOOK_S else False
            if ready or died or time.monotonic() >= until:
                return

    def _serve(self, channel: PipeChannel | None, events: int) -> None:
        if channel is None:
            with contextlib.suppress(BlockingIOError):
                self._wake_read.recv(READ_BYTES)
            return
        if events & selectors.EVENT_WRITE:
            channel.write()
        if events & selectors.EVENT_READ and not channel.read():
            self._end(channel)

    def _bury(self) -> bool:
        """Find workers that ended although their socket is still open, or that do not end."""
        self._looked_at = time.monotonic()
        ended = [channel for channel in self._channels.values() if _has_ended(channel.process)]
        for channel in ended:
            while channel.read() and _readable(channel.socket):
                continue
            self._end(channel)
        for channel in self._channels.values():
            if channel.closing_until is not None and time.monotonic() > channel.closing_until:
                channel.kill()
        return bool(ended)

    def _end(self, channel: PipeChannel) -> None:
        """A worker is gone: end what it left behind, and tell."""
        self._selector.unregister(channel.socket)
        channel.socket.close()
        channel.kill()
        orphans.kill_children(channel.mark, channel.process.pid)
        code = channel.process.wait()
        channel.alive = False
        del self._channels[channel.name]
        channel.sink(channel.name, Death(_reason(code) + self._last_words(channel)))

    def _last_words(self, channel: PipeChannel) -> str:
        """Why a worker did not even start, as its log has it."""
        if channel.heard:
            return ""
        path = log_path(self._settings, channel.name)
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return f": {lines[-1]} (see {path})" if lines else f" (its log {path} is empty)"

    def wake(self) -> None:
        """See ``Transport``."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_write.send(b"!")

    def close(self) -> None:
        """See ``Transport``."""
        for channel in list(self._channels.values()):
            self._end(channel)
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            if self._guard.stdin is not None:
                self._guard.stdin.close()
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended; it stays a zombie, so that its group's id is not given away yet."""
    if hasattr(os, "waitid"):
        try:
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True
    return process.poll() is not None


def _readable(end: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(end, selectors.EVENT_READ)
        return bool(selector.select(0))


def _reason(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        return f"its process was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"its process was killed by signal {-code}"


def _machine_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 1 << 62
