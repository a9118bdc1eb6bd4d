"""What steps of one process share and must not pass on: directory, environment, random numbers, streams.

Asking the system after every step would cost more than a small step does, so changes are noted where they are made:
``os.environ`` and ``os.chdir`` set a mark. The global random generators are seeded for each step whose code could reach
them (``may_draw``). What goes past these (C code that calls ``chdir``) is put right between bundles.
"""

from __future__ import annotations

import functools
import importlib.machinery
import os
import random
import sys
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType
from typing import Any, Protocol


class Seeded(Protocol):
    """A step, as far as random numbers go."""

    @property
    def seed(self) -> int:
        """The same for every attempt of the step."""
        ...


class Surroundings:
    """Puts the surroundings of a step back to what they were when the worker started.

    For processes that belong to the engine: ``watch`` changes ``os.environ`` and ``os.chdir`` for the rest of the
    process's life.
    """

    def __init__(self) -> None:
        self._directory = os.getcwd()
        self._environ = dict(os.environ)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._environ_changed = False
        self._directory_changed = False
        self._step: Seeded | None = None
        self._numpy: ModuleType | None = None

    def watch(self) -> None:
        """Start noting changes; before any of the user's code is imported."""
        os.environ.__class__ = _watched_environ(self._note_environ)
        for name in ("chdir", "fchdir"):
            setattr(os, name, self._noting(getattr(os, name)))
        if "numpy.random" in sys.modules:
            self._add_numpy(sys.modules["numpy.random"])
        else:
            sys.meta_path.insert(0, _OnImport("numpy.random", self._add_numpy))

    def prepare(self, step: Seeded) -> None:
        """A step starts that may draw from the global generators: seed them with the step's own seed."""
        self._step = step
        random.seed(step.seed)
        if self._numpy is not None:
            self._numpy.seed(step.seed & 0xFFFFFFFF)

    def restore(self) -> None:
        """A step is over: undo what it changed."""
        self._step = None
        if (sys.stdin, sys.stdout, sys.stderr) != self._streams:
            sys.stdin, sys.stdout, sys.stderr = self._streams
        if self._environ_changed:
            self._restore_environ()
        if self._directory_changed:
            self._restore_directory()

    def restore_all(self) -> None:
        """A bundle is over: undo also what was changed without a note."""
        self.restore()
        try:
            moved = os.getcwd() != self._directory
        except FileNotFoundError:
            moved = True
        if moved:
            self._restore_directory()

    def _restore_environ(self) -> None:
        for key in [key for key in os.environ if key not in self._environ]:
            del os.environ[key]
        for key, value in self._environ.items():
            if os.environ.get(key) != value:
                os.environ[key] = value
        self._environ_changed = False

    def _restore_directory(self) -> None:
        os.chdir(self._directory if os.path.isdir(self._directory) else "/")
        self._directory_changed = False

    def _note_environ(self) -> None:
        self._environ_changed = True

    def _noting(self, change: Callable[[Any], None]) -> Callable[[Any], None]:
        def noted(path: Any) -> None:
            self._directory_changed = True
            change(path)

        return noted

    def _add_numpy(self, module: ModuleType) -> None:
        """numpy's generator exists from now on; a running step may have imported it."""
        self._numpy = module
        if self._step is not None:
            module.seed(self._step.seed & 0xFFFFFFFF)


class BorrowedSurroundings(Surroundings):
    """Surroundings of the user's own process: a step finds the generators seeded, the user finds them as they were."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn: tuple[Any, Any] | None = None

    def prepare(self, step: Seeded) -> None:
        """See ``Surroundings``."""
        import numpy.random  # numpy does so only on first use, which would be in the step, after the seeding

        self._numpy = numpy.random
        self._drawn = random.getstate(), numpy.random.get_state()
        super().prepare(step)

    def restore(self) -> None:
        """A step is over: put the generators back; nothing else of the process is touched."""
        self._step = None
        if self._drawn is not None and self._numpy is not None:
            random.setstate(self._drawn[0])
            self._numpy.set_state(self._drawn[1])
            self._drawn = None

    def restore_all(self) -> None:
        """See ``Surroundings``."""
        self.restore()


class _OnImport:
    """Calls back once when a module has been imported, whoever imports it."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's ordinary spec, its loader extended."""
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_then(module: ModuleType) -> None:
                execute(module)
                self._then(module)

            spec.loader.exec_module = execute_then  # type: ignore[method-assign]
        return spec


def _watched_environ(note: Callable[[], None]) -> type[Any]:
    class WatchedEnviron(os._Environ):  # type: ignore[type-arg]
        """``os.environ`` that says when it is changed."""

        def __setitem__(self, key: Any, value: Any) -> None:
            note()
            super().__setitem__(key, value)

        def __delitem__(self, key: Any) -> None:
            note()
            super().__delitem__(key)

    return WatchedEnviron


@functools.cache
def may_draw(function: Callable[..., Any]) -> bool:
    """False if the code of a function, and of the functions it calls, cannot reach a global random generator.

    Only arithmetic on arguments, built-in functions and other such functions is recognised; everything else may draw.
    """
    return _may_draw(function, set())


def _may_draw(function: Any, seen: set[int]) -> bool:
    if id(function) in seen:
        return False
    seen.add(id(function))
    code, module = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None or code.co_freevars or any(isinstance(constant, CodeType) for constant in code.co_consts):
        return True
    for name in code.co_names:
        value = module.get(name, _MISSING)
        if value is _MISSING:
            if name not in _HARMLESS:
                return True  # an attribute, an import, or a built-in that runs code
        elif not isinstance(value, int | float | str | bytes | None) and _may_draw(value, seen):
            return True
    return False


_MISSING = object()
_HARMLESS = frozenset(
    [
        "abs",
        "all",
        "any",
        "bool",
        "bytes",
        "chr",
        "dict",
        "divmod",
        "enumerate",
        "float",
        "frozenset",
        "int",
        "isinstance",
        "len",
        "list",
        "max",
        "min",
        "ord",
        "pow",
        "range",
        "repr",
        "reversed",
        "round",
        "set",
        "sorted",
        "str",
        "sum",
        "tuple",
        "zip",
    ]
)
