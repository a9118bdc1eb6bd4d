"""What the pipelines of a project declare about running by themselves: read once, and again when its files change.

What stands in a pipeline file is read here. What its code declares, a process of its own says, see ``app.launching``;
its answer is kept in ``ORC_HOME`` with what it was read from, for whoever wants to know.
"""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import secrets
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from blake3 import blake3

from orchestrator.app.catalog import Catalog, Listed
from orchestrator.app.installation import Installation
from orchestrator.app.launching import Declaration, Declarations, Declare, Order, Taken, launch
from orchestrator.config.document import Document, KeyPath, Place
from orchestrator.config.pipeline_file import read_pipeline_file
from orchestrator.config.schema import validate
from orchestrator.errors import ConfigError, OrchestratorError, UserError
from orchestrator.ports.triggers import Trigger, TriggerModule

PACKAGE = "orchestrator.triggers.kinds"
LIMIT_S = 120.0
"""Longest time for the code of a project to say what it declares."""

AGAIN_S = 60.0
"""If any code could not say so, all is asked again after so long, or when it has changed."""

UNASKED = "what its code declares is not known yet; orc up asks it"

CONFIGS = "configs"
_MOST_FILES = 20_000
"""Files and folders that are looked at below each folder of a project."""

_ELSEWHERE = frozenset({"__pycache__", "node_modules", "site-packages"})
_READ = (".py", ".yaml", ".yml")
_UNREADABLE = Document({}, {(): Place("on", 0)})

_log = logging.getLogger(__name__)


@cache
def trigger_kinds(package: str = PACKAGE, group: str = PACKAGE) -> Mapping[str, TriggerModule]:
    """Kinds of triggers by name: the modules of a package, and third parties' through entry points.

    Raises:
        ConfigError: a module is no kind of triggers, or two have one name.
    """
    path = importlib.import_module(package).__path__
    found: list[Any] = [importlib.import_module(one.name) for one in pkgutil.iter_modules(path, f"{package}.")]
    found += [point.load() for point in sorted(metadata.entry_points(group=group), key=lambda point: point.value)]
    kinds: dict[str, TriggerModule] = {}
    for module in found:
        kind = getattr(module, "KIND", None)
        if not (isinstance(kind, str) and hasattr(module, "SCHEMA") and callable(getattr(module, "read", None))):
            raise ConfigError(f"{module.__name__} is no kind of triggers: it needs KIND, SCHEMA and read(written)")
        if kind in kinds:
            raise ConfigError(f"{module.__name__} brings a second kind {kind!r}; give it a name of its own")
        kinds[kind] = module
    return kinds


@dataclass(frozen=True, slots=True)
class Watched:
    """A trigger of a pipeline; ``id`` follows from both."""

    id: str
    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Triggered:
    """A pipeline file of a project, and what makes it run by itself.

    Attributes:
        name: The file's, without suffix.
        takes: Parameters; None if they are not known.
        problem: Why what it declares now cannot be read; then the rest is what it declared before.
    """

    name: str
    file: Path
    triggers: tuple[Watched, ...] = ()
    concurrency: int | None = None
    takes: tuple[Taken, ...] | None = None
    problem: str = ""


class _Kept(msgspec.Struct):
    """Answers of the project's code, and what they were read from; ``before`` has the last that were good."""

    content: str
    answers: dict[str, Declaration]
    before: dict[str, Declaration]


class Declared:
    """What the pipelines of a project declare.

    Args:
        project: Its directory.
    """

    def __init__(self, here: Installation, project: Path) -> None:
        self._here = here
        self._project = project
        self._path = folder(here, project) / "declared.json"
        self._content = ""
        self._left_out: tuple[Path, ...] = ()
        self._failed_at: float | None = None
        self._found: tuple[Triggered, ...] = ()

    def read(self) -> Sequence[Triggered]:
        """Pipelines that may run by themselves, by name; the project's code is asked only if its files have changed.

        Raises:
            ConfigError: the folder of pipeline files was there once and is away.
        """
        if not (self._project / CONFIGS).is_dir():
            if self._known() is not None:
                raise ConfigError(f"there is no {self._project / CONFIGS} any more")
            return ()
        content, now = self._content_now(), self._here.clock.monotonic()
        if content != self._content or (self._failed_at is not None and now - self._failed_at > AGAIN_S):
            listed = [one for one in Catalog(self._project).list() if _is_own(one, self._project)]
            kept = self._kept(content, listed)
            self._found = tuple(_triggered(one, kept) for one in listed)
            self._content = content
        return self._found

    def _content_now(self) -> str:
        found = content_of(self._project)
        for path in found.left_out:
            if path not in self._left_out:
                _log.warning("%s has too many files: a change of code in it counts once another file changes", path)
        self._left_out = found.left_out
        return found.digest

    def known(self) -> Sequence[Triggered]:
        """As ``read``, but nothing is asked: what code has not said yet is not known, and that is its problem."""
        listed = [one for one in Catalog(self._project).list() if _is_own(one, self._project)]
        kept = self._known() or _Kept("", {}, {})
        unasked = {str(one.file) for one in listed} - kept.answers.keys()
        answers = kept.answers | {file: Declaration(file=file, problem=UNASKED) for file in unasked}
        return tuple(_triggered(one, _Kept("", answers, kept.before)) for one in listed)

    def _kept(self, content: str, listed: Sequence[Listed]) -> _Kept:
        self._failed_at, known = None, self._known()
        files = [str(one.file) for one in listed if not one.problem]
        if known is not None and known.content == content and not set(files) - _good(known.answers).keys():
            return known
        before = {} if known is None else {**known.before, **_good(known.answers)}
        answers: list[Declaration] = []
        try:
            if files:
                order = Order(declare=Declare(files=files))
                answers = launch(self._here, order, Declarations, self._project, LIMIT_S).items
        except OrchestratorError as error:  # code that ends its process, or hangs
            answers = [Declaration(file=file, problem=str(error)) for file in files]
        if any(one.problem for one in answers):
            self._failed_at = self._here.clock.monotonic()
        kept = _Kept(content, {one.file: one for one in answers}, before)
        write_whole(self._path, msgspec.json.encode(kept))
        return kept

    def _known(self) -> _Kept | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except (FileNotFoundError, msgspec.DecodeError):
            return None


def _is_own(listed: Listed, project: Path) -> bool:
    return not listed.shipped and listed.file.parent.resolve() == (project / CONFIGS).resolve()


def _good(answers: Mapping[str, Declaration]) -> dict[str, Declaration]:
    return {file: one for file, one in answers.items() if not one.problem}


def _triggered(listed: Listed, kept: _Kept) -> Triggered:
    """A pipeline, from its file and from what its code says."""
    file = str(listed.file)
    answer = kept.answers.get(file, Declaration(file=file))
    problem = listed.problem or answer.problem
    if problem:
        answer = kept.before.get(file, Declaration(file=file))
    takes = tuple(answer.takes) if not problem or file in kept.before else None
    try:
        if listed.problem:
            document, on, concurrency = _UNREADABLE, answer.on, answer.concurrency
        else:
            document = read_pipeline_file(listed.file).document
            on = document.data.get("on", answer.on)
            concurrency = document.data.get("concurrency", answer.concurrency)
        return Triggered(listed.name, listed.file, _watched(listed.name, document, on), concurrency, takes, problem)
    except OrchestratorError as error:
        return Triggered(listed.name, listed.file, problem=str(error))


def _watched(name: str, document: Document, on: Sequence[Mapping[str, Any]]) -> tuple[Watched, ...]:
    found: dict[str, Watched] = {}
    for place, written in enumerate(on):
        path: KeyPath = ("on", place)
        trigger = _trigger(document, path, written)
        key = trigger_id(name, trigger)
        if key in found:
            raise document.error(path, f"on.{place}: {trigger.text} is there twice")
        found[key] = Watched(key, trigger)
    return tuple(found.values())


def _trigger(document: Document, path: KeyPath, written: Mapping[str, Any]) -> Trigger:
    """The trigger of an entry, which stands in the file or was declared in code."""
    kinds = trigger_kinds()
    there = [kind for kind in kinds if kind in written]
    if len(there) != 1:
        raise document.error(path, f"{'.'.join(map(str, path))}: an entry has one of {', '.join(sorted(kinds))}")
    kind = kinds[there[0]]
    if "on" in document.data:
        validate(document, kind.SCHEMA, path)
    try:
        return kind.read(written)
    except UserError as error:
        raise document.error((*path, there[0]), error.message) from None


def trigger_id(pipeline: str, trigger: Trigger) -> str:
    """Name of a trigger: what it does belongs to it, what becomes of missed moments does not."""
    identity = msgspec.json.encode(trigger.identity(), order="sorted")
    return f"{pipeline}.{trigger.kind}.{blake3(identity).hexdigest()[:8]}"


class Content(NamedTuple):
    """What changes with a project's code and files, their names, sizes and times; and folders too large to look at."""

    digest: str
    left_out: tuple[Path, ...]


def content_of(project: Path) -> Content:
    """The content of a project: of its folder, of ``configs`` and of each other folder, up to a number of files."""
    told, left_out = blake3(), list[Path]()
    for path in _files(project, left_out):
        try:
            found = path.stat()
        except OSError:
            continue
        told.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return Content(told.hexdigest()[:32], tuple(left_out))


def _files(project: Path, left_out: list[Path]) -> Iterator[Path]:
    folders, files = _inside(project)
    yield from _code(files)
    for folder in (project / CONFIGS, *(one for one in folders if one.name != CONFIGS)):
        yield from _below(folder, left_out)


def _below(folder: Path, left_out: list[Path]) -> Iterator[Path]:
    """Files of a folder and of those in it, nearest first; one that holds more than may still come is left out."""
    room, waiting = _MOST_FILES, deque([folder])
    while waiting:
        root = waiting.popleft()
        folders, files = _inside(root)
        if len(folders) + len(files) > room:
            left_out.append(root)
            continue
        room -= len(folders) + len(files)
        waiting.extend(folders)
        yield from _code(files)


def _inside(root: Path) -> tuple[list[Path], list[Path]]:
    """Folders that may have code, without links, and files."""
    _, folders, files = next(os.walk(root), ("", [], []))
    kept = (
        root / name for name in sorted(folders)
        if name not in _ELSEWHERE and not name.startswith(".") and not (root / name / "pyvenv.cfg").exists()
    )  # fmt: skip
    return [one for one in kept if not one.is_symlink()], [root / name for name in sorted(files)]


def _code(files: Sequence[Path]) -> Iterator[Path]:
    return (one for one in files if one.name.endswith(_READ))


# ---- files of an installation


def folder(here: Installation, project: Path) -> Path:
    """Where is kept what concerns the triggers of a project."""
    path = here.settings.home / "triggers" / project_key(project)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def project_key(project: Path) -> str:
    """Tells projects of one installation apart."""
    return blake3(str(project.resolve()).encode()).hexdigest()[:16]


def write_whole(path: Path, body: bytes) -> None:
    """A file that is there whole or not at all, also after a loss of power."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
