"""Readers of all runs that remember how far they have come: metrics, alerts, and what is sent elsewhere.

One mechanism for all. What a reader knows of a run that goes on is rebuilt from the facts it has read; what it
knows beyond runs (its totals) is kept with its place, in one file for each reader below ``ORC_HOME``. A reader that
was away catches up. One that dies between an effect and the note about it has it again: what is sent has ids that
follow from the facts, by which a receiver finds out. Of several processes with one home, one reads.
"""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from orchestrator.app.feed import Place, news
from orchestrator.app.installation import Installation
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, ConfigError, JournalCorrupt, OrchestratorError
from orchestrator.graph.fact import Recorded, RunFinished
from orchestrator.ports.journal import RunRow

S = TypeVar("S")

POLL_S = 1.0
LONGEST_PAUSE_S = 60.0
_SAVED_EVERY = 64
"""Batches of facts after which a reader that catches up notes its place."""

_log = logging.getLogger(__name__)


class Reader(ABC, Generic[S]):
    """What is done with the facts of all runs.

    Attributes:
        name: Of its file.
        from_the_start: Whether it begins with the oldest run, or with those made after it was first switched on.
        reads_facts: Whether it wants any; one that does not looks at something else, with the same promises.
    """

    name: str
    from_the_start = False
    reads_facts = True

    @abstractmethod
    def begin(self, row: RunRow) -> S:
        """What is known of a run before its first fact."""

    @abstractmethod
    def take(self, row: RunRow, state: S, facts: Sequence[Recorded], known: bool) -> None:
        """Facts of a run, in order.

        Args:
            known: They were read by an earlier process: only ``state`` follows from them.
        """

    def tick(self, now: float) -> None:
        """All news have been taken."""

    def act(self, now: float) -> None:
        """Totals have been noted: what follows from them may be done."""

    def totals(self) -> Any:
        """What is known beyond runs, for JSON."""
        return None

    def restore(self, totals: Any) -> None:
        """Inverse of ``totals``."""


class _Kept(msgspec.Struct):
    place: Place
    totals: Any = None


class Keeper(Generic[S]):
    """A reader with its place and totals; ``round`` reads what is new.

    Args:
        save_every_s: Where nothing leaves this process, its progress need not be noted at once.
    """

    def __init__(self, here: Installation, reader: Reader[S], save_every_s: float = 0.0) -> None:
        self._here = here
        self._save_every_s = save_every_s
        self._saved_at = here.clock.now()
        self._saved = b""
        self._path = folder(here) / f"{reader.name}.json"
        self._runs: dict[str, S] = {}
        self.reader = reader
        kept = _read(self._path)
        now = here.clock.now()
        self.place = Place(floor=0.0 if reader.from_the_start else now)
        if kept is not None:
            self.place = kept.place
            reader.restore(kept.totals)
        else:
            self.place.since = self.place.floor
            self.save()

    def round(self) -> int:
        """Take what is new; returns the number of facts.

        Raises:
            OrchestratorError: the journal, or where a sink sends to, is away; what was taken by then is noted.
        """
        count = batches = 0
        try:
            for row, facts in news(self._here.journal, self.place) if self.reader.reads_facts else ():
                self._take(row, facts)
                count, batches = count + len(facts), batches + 1
                if isinstance(facts[-1].fact, RunFinished):
                    self._runs.pop(row.id, None)
                if batches % _SAVED_EVERY == 0:
                    self._save_sometimes()
            self.reader.tick(self._here.clock.now())
        except BaseException:
            self._runs.clear()  # part of a batch may have been taken: it is taken again
            raise
        finally:
            self._runs = {run: state for run, state in self._runs.items() if run in self.place.open}
            self._save_sometimes()
        self.reader.act(self._here.clock.now())
        self._save_sometimes()
        return count

    def _save_sometimes(self) -> None:
        now = self._here.clock.now()
        if not 0 <= now - self._saved_at < self._save_every_s:
            self._saved_at = now
            self.save()

    def _take(self, row: RunRow, facts: Sequence[Recorded]) -> None:
        try:
            self.reader.take(row, self._state(row), facts, known=False)
        except (JournalCorrupt, ArtifactMissing, ArtifactCorrupt) as error:  # no reason to stop reading other runs
            _log.warning("%s: run %s is left out: %s", self.reader.name, row.id, error.message)

    def _state(self, row: RunRow) -> S:
        state = self._runs.get(row.id)
        if state is None:
            state = self._runs[row.id] = self.reader.begin(row)
            seq = self.place.open.get(row.id, 0)
            if seq:
                known = [one for one in self._here.journal.facts(row.id) if one.seq <= seq]
                self.reader.take(row, state, known, known=True)
        return state

    def save(self) -> None:
        """Note place and totals, in the place of what was noted before."""
        body = msgspec.json.encode({"place": self.place, "totals": self.reader.totals()})
        if body == self._saved:
            return
        beside = self._path.with_suffix(".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._saved = body


def folder(here: Installation) -> Path:
    """Where readers note their places."""
    path = here.settings.home / "readers"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def kept_totals(here: Installation, name: str) -> Any:
    """The totals that a reader noted last; None if it has never read."""
    kept = _read(folder(here) / f"{name}.json")
    return None if kept is None else kept.totals


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is damaged: {error}; remove it, and its reader begins anew") from error


class Readers:
    """Reads for several readers, in a thread, until it is closed.

    Args:
        readers: Each is read for on its own: one whose receiver is away keeps none of the others waiting.
    """

    def __init__(self, here: Installation, readers: Sequence[Reader[Any]], poll_s: float = POLL_S) -> None:
        self._here = here
        self._poll_s = poll_s
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._main, args=(reader,), name=f"reader {reader.name}", daemon=True)
            for reader in readers
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; what was read is noted."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(LONGEST_PAUSE_S)

    def _main(self, reader: Reader[Any]) -> None:
        while not self._stopping.is_set():
            with reading_alone(self._here, reader.name) as alone:
                if alone:
                    self._read(reader)
            self._stopping.wait(self._poll_s * 5)  # another process reads, and may end

    def _read(self, reader: Reader[Any]) -> None:
        keeper: Keeper[Any] | None = None
        pause_s = self._poll_s
        while not self._stopping.is_set():
            try:
                keeper = keeper or Keeper(self._here, reader)
                keeper.round()
                pause_s = self._poll_s
            except OrchestratorError as error:
                if pause_s == self._poll_s:
                    _log.warning("%s: %s; it is tried again, and nothing is lost", reader.name, error.message)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            except Exception:
                _log.exception("%s: a round has failed; it is tried again", reader.name)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            self._stopping.wait(pause_s)


@contextmanager
def reading_alone(here: Installation, name: str) -> Iterator[bool]:
    """Whether this process is the one that reads for a reader, as long as the context lasts."""
    from orchestrator.store.lock import take

    lock = take(here.settings.locks_dir / f"reader-{name}.lock", f"process {os.getpid()}")
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()
