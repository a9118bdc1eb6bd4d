"""What steps of one process share and must not pass on: directory, environment, random numbers, streams.

Asking the system after every step would cost more than a small step does, so changes are noted where they are made:
``os.environ`` and ``os.chdir`` set a mark, and the global random generators are seeded when a step first
touches their module. What goes past these (C code that calls ``chdir``) is put right between bundles.
"""

from __future__ import annotations

import importlib.machinery
import os
import random
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol


class Seeded(Protocol):
    """A step, as far as random numbers go."""

    @property
    def seed(self) -> int:
        """The same for every attempt of the step."""
        ...


class Surroundings:
    """Puts the surroundings of a step back to what they were when the worker started.

    For processes that belong to the engine: ``watch`` changes ``os.environ``, ``os.chdir`` and the modules ``random``
    and ``numpy.random`` for the rest of the process's life.
    """

    def __init__(self) -> None:
        self._directory = os.getcwd()
        self._environ = dict(os.environ)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._environ_changed = False
        self._directory_changed = False
        self._generators: list[_Generator] = []
        self._step: Seeded | None = None

    def watch(self) -> None:
        """Start noting changes; before any of the user's code is imported."""
        os.environ.__class__ = _watched_environ(self._note_environ)
        for name in ("chdir", "fchdir"):
            setattr(os, name, self._noting(getattr(os, name)))
        self._generators.append(_Generator(random, self._current_seed))
        if "numpy.random" in sys.modules:
            self._add_numpy(sys.modules["numpy.random"])
        else:
            sys.meta_path.insert(0, _OnImport("numpy.random", self._add_numpy))

    def prepare(self, step: Seeded) -> None:
        """A step starts; its seed is asked for if it uses a global generator."""
        self._step = step
        for generator in self._generators:
            generator.arm()

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

    def _current_seed(self) -> int | None:
        return None if self._step is None else self._step.seed

    def _add_numpy(self, module: ModuleType) -> None:
        """numpy's generator exists from now on; a running step may have imported it."""
        generator = _Generator(module, self._current_seed)
        self._generators.append(generator)
        generator.seed()


class _Generator:
    """A module with a global random generator, which is seeded when a step first asks for anything in it.

    Code that has bound the module's functions at import (``from random import choice``) is not seen to use them;
    from then on the generator is seeded for every step.
    """

    def __init__(self, module: ModuleType, seed: Callable[[], int | None]) -> None:
        self._module = module
        self._seed = seed
        self._always = False
        self._plain = type(module)
        self._watched = _watched_module(self._touched)

    def arm(self) -> None:
        """A step starts."""
        if self._always:
            self.seed()
        elif type(self._module) is self._plain:
            self._module.__class__ = self._watched

    def seed(self) -> None:
        """Seed for the running step; nothing if none runs."""
        self._module.__class__ = self._plain
        seed = self._seed()
        if seed is not None:
            self._module.seed(seed & 0xFFFFFFFF)

    def _touched(self, by: str) -> None:
        if by == "<module>":
            self._always = True
        self.seed()


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


def _watched_module(touched: Callable[[str], None]) -> type[ModuleType]:
    class WatchedModule(ModuleType):
        """A module that says when something in it is used, and by what."""

        def __getattribute__(self, name: str) -> Any:
            value = ModuleType.__getattribute__(self, name)
            if not name.startswith("__") and not isinstance(value, type):
                touched(sys._getframe(1).f_code.co_name)
            return value

    return WatchedModule
