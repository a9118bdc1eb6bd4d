"""Workers as processes of this machine, behind socket pairs.

Everything here happens in ``pump``, in the driver's own thread: no reader threads, no hand-over. The workers are forked
from one process, the nursery (``nursery.py``), which also tells how they end and ends them if the driver is gone.
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
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.backends.bundles import orphans
from orchestrator.backends.bundles.pipe_channel import PipeChannel
from orchestrator.backends.bundles.transport import Death, Sink, WorkerNeeds, WorkerSettings, log_path
from orchestrator.errors import WorkerStartFailed
from orchestrator.graph.policy import Resources

READ_BYTES = 1 << 16
LOOK_S = 0.1
LINGER_S = 1.0
"""How long a worker that has closed its socket may take to end."""

_ROOT = str(Path(__file__).resolve().parents[3])
_START = "import sys; sys.path.insert(0, sys.argv[1]); from orchestrator.app.worker import main; main(*sys.argv[2:])"


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
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._awake)
        self._nursery: _Nursery | None = None
        self._looked_at = 0.0
        self._deaths = 0

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
            ("CPUs", need.num_cpus, self.slots),
            ("GPUs", need.num_gpus, 0),
            ("bytes of memory", need.memory, self._memory),
            *((name, amount, 0) for name, amount in need.resources.items()),
        ):
            if wanted > has:
                return f"the step needs {wanted:g} {name}, but {supply}"
        for option in ("accelerator_type", "label_selector", "runtime_env"):
            asked = getattr(need, option)
            if asked:
                return f"the step asks for {option}={asked!r}, which local workers do not have; run it on Ray"
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
        nursery = self.warm()
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        ours.setblocking(False)
        channel = PipeChannel(name, needs, ours, sink, nursery.kill)
        with theirs:
            nursery.start({"name": name, "kind": needs.kind, "mark": f"{self._mark}/{name}"}, theirs)
        self._channels[name] = channel
        self._selector.register(ours, selectors.EVENT_READ, channel)
        return channel

    def warm(self) -> _Nursery:
        """Start the process that workers are forked from, if it is not there: it takes most of a worker's start."""
        if self._nursery is None:
            self._nursery = _Nursery(self._settings, self._mark)
            self._selector.register(self._nursery.socket, selectors.EVENT_READ, self._hear_nursery)
        return self._nursery

    # ---- frames

    def pump(self, timeout_s: float) -> None:
        """See ``Transport``."""
        until, deaths = time.monotonic() + timeout_s, self._deaths
        while True:
            self._ask_for_what_is_wanted()
            heard = False
            for key, events in self._selector.select(min(LOOK_S, max(0.0, until - time.monotonic()))):
                if isinstance(key.data, PipeChannel):
                    heard = self._serve(key.data, events) or heard
                else:
                    heard = key.data() or heard
            self._look_after_closed()
            if heard or self._deaths != deaths or time.monotonic() >= until:
                return

    def _ask_for_what_is_wanted(self) -> None:
        for channel in self._channels.values():
            if channel.closed_at is None:
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.has_unsent else 0)
                if self._selector.get_key(channel.socket).events != wanted:
                    self._selector.modify(channel.socket, wanted, channel)

    def _serve(self, channel: PipeChannel, events: int) -> bool:
        if not channel.alive:
            return False  # its death was told in the same turn
        if events & selectors.EVENT_WRITE:
            channel.write()
        if not events & selectors.EVENT_READ:
            return False
        heard = channel.read()
        if channel.closed_at is not None:
            self._selector.unregister(channel.socket)
        return heard

    def _awake(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(READ_BYTES)
        return True

    # ---- ends

    def _hear_nursery(self) -> bool:
        """Take in who was started and who has ended."""
        assert self._nursery is not None
        told = self._nursery.read()
        if told is None:
            self._selector.unregister(self._nursery.socket)
            words = self._nursery.last_words()
            self._nursery.close()
            self._nursery = None
            for channel in [channel for channel in self._channels.values() if channel.pid is None]:
                self._end(channel, f"its process could not be started{words}")
            return False
        by_pid = {channel.pid: channel for channel in self._channels.values()}
        for answer in told:
            if "started" in answer:
                channel = self._channels[answer["started"]]
                by_pid[answer["pid"]] = channel
                channel.pid = answer["pid"]
                if channel.doomed:
                    channel.kill()
            elif answer["ended"] in by_pid:
                channel = by_pid[answer["ended"]]
                channel.code = answer["code"]
                while channel.read():  # its last frames
                    continue
                self._end(channel, _reason(answer["code"]) + self._last_words(channel))
        return False

    def _look_after_closed(self) -> None:
        """Workers that closed their socket and do not end, or were told to stop and do not."""
        now = time.monotonic()
        for channel in list(self._channels.values()):
            if channel.closed_at is not None and self._nursery is None:
                self._end(channel, "its process has ended, nobody knows how")
            elif not channel.doomed and (
                (channel.closed_at is not None and now > channel.closed_at + LINGER_S)
                or (channel.stop_by is not None and now > channel.stop_by)
            ):
                channel.kill()

    def _end(self, channel: PipeChannel, reason: str) -> None:
        """A worker is gone: end what it left behind, and tell."""
        with contextlib.suppress(KeyError):  # unless its end was read in turn, which unregisters it already
            self._selector.unregister(channel.socket)
        channel.socket.close()
        channel.alive = False
        del self._channels[channel.name]
        orphans.kill_children(f"{self._mark}/{channel.name}", channel.pid or 0)
        self._deaths += 1
        channel.deliver(Death(reason))

    def _last_words(self, channel: PipeChannel) -> str:
        """Why a worker did not even start, as its log has it."""
        return "" if channel.heard else _last_line(log_path(self._settings, channel.name))

    def rest(self) -> None:
        """See ``Transport``; there is nothing to look after."""

    def resume(self) -> None:
        """See ``Transport``."""

    def wake(self) -> None:
        """See ``Transport``."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_write.send(b"!")

    def close(self) -> None:
        """See ``Transport``."""
        for channel in self._channels.values():
            channel.kill()
        if self._nursery is not None:
            self._nursery.close()
        for channel in list(self._channels.values()):
            self._end(channel, "its driver has closed")
        orphans.kill_children(f"{self._mark}/")
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()


class _Nursery:
    """The driver's side of the process that workers are forked from; started with the first worker."""

    def __init__(self, settings: WorkerSettings, mark: str) -> None:
        self.socket, theirs = socket.socketpair()
        self._log = log_path(settings, f"nursery-{mark}")
        self._received = b""
        with theirs:
            try:
                with _appended(self._log) as log:
                    self._process = subprocess.Popen(
                        [
                            sys.executable,
                            "-P",
                            "-c",
                            _START,
                            _ROOT,
                            str(theirs.fileno()),
                            mark,
                            json.dumps(asdict(settings)),
                        ],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        pass_fds=(theirs.fileno(),),
                        start_new_session=True,
                        env={**os.environ, orphans.MARK: f"{mark}/"},
                    )
            except OSError as error:
                self.socket.close()
                raise WorkerStartFailed(f"cannot start a process for local workers: {error}") from error

    def start(self, told: dict[str, Any], end: socket.socket) -> None:
        """Ask for a worker at the other end of this socket."""
        with contextlib.suppress(OSError):  # it is gone: reading says so
            socket.send_fds(self.socket, [json.dumps({"start": told}).encode() + b"\n"], [end.fileno()])

    def kill(self, pid: int) -> None:
        """Ask for the end of a worker."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps({"kill": pid}).encode() + b"\n")

    def read(self) -> list[dict[str, Any]] | None:
        """What it told; None if it is gone."""
        try:
            data = self.socket.recv(READ_BYTES)
        except OSError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def last_words(self) -> str:
        """The end of its log."""
        return _last_line(self._log)

    def close(self) -> None:
        """End it; workers that are left are killed here, at the latest."""
        self.socket.close()
        self._process.kill()
        self._process.wait()
        if self._log.exists() and not self._log.stat().st_size:
            self._log.unlink()


def _appended(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "ab", opener=lambda file, flags: os.open(file, flags, 0o600))


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return f": {lines[-1]} (see {path})" if lines else f" (its log {path} is empty)"


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
