"""Finding codecs: every module of ``codecs/``, and third parties' through the entry points ``orchestrator.codecs``.

An entry point names a codec module, or a ``Codec`` in one. Third parties' codecs are looked for only when the codecs of
this package have no better answer than a pickle: looking takes time that most processes never need to spend.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib import metadata
from types import ModuleType
from typing import Any

from orchestrator.artifacts.codec import Codec
from orchestrator.artifacts.describe import module_of
from orchestrator.errors import ArtifactUnreadable, ConfigError

PACKAGE = "orchestrator.artifacts.codecs"
GROUP = "orchestrator.codecs"
LAST = 1000
"""Order from which a codec takes what nobody else wants."""


class Registry:
    """Codecs by name, and by the class of a value.

    Args:
        packages: Packages whose modules are codec files.
        group: Entry point group of third parties' codecs; empty for none.

    Raises:
        ConfigError: two codecs have one name, or a file holds no codec.
    """

    def __init__(self, packages: tuple[str, ...] = (PACKAGE,), group: str = GROUP) -> None:
        self._group = group
        self._codecs: dict[str, Codec] = {}
        self._first: dict[type, tuple[Codec, ...]] = {}
        self._late: list[Codec] = []
        for package in packages:
            self._add_package(importlib.import_module(package))

    def candidates(self, kind: type) -> tuple[Codec, ...]:
        """Codecs of the packages that may take values of a class, in the order to ask them."""
        known = self._first.get(kind)
        if known is None:
            found = [codec for codec in self._codecs.values() if codec.order < LAST and codec not in self._late]
            known = self._first[kind] = _fitting(found, kind)
        return known

    def late_candidates(self, kind: type) -> tuple[Codec, ...]:
        """Codecs to ask when the first ones decline: third parties', then those that take everything."""
        self._add_installed()
        return _fitting([*self._late, *(codec for codec in self._codecs.values() if codec.order >= LAST)], kind)

    def codec(self, name: str) -> Codec:
        """The codec of that name.

        Raises:
            ArtifactUnreadable: it is not installed here.
        """
        if name not in self._codecs:
            self._add_installed()
        if name not in self._codecs:
            raise ArtifactUnreadable(
                f"no codec {name!r} is installed here; install the package that provides it (entry points {GROUP!r})"
            )
        return self._codecs[name]

    def names(self) -> list[str]:
        """Names of all codecs known by now."""
        return sorted(self._codecs)

    def _add_package(self, package: ModuleType) -> None:
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for codec in _codecs_in(importlib.import_module(found.name), found.name):
                self._add(codec, found.name)

    def _add_installed(self) -> None:
        group, self._group = self._group, ""
        if group:
            for point in sorted(metadata.entry_points(group=group), key=lambda point: point.value):
                for codec in _codecs_in(point.load(), point.value):
                    self._add(codec, point.value)
                    self._late.append(codec)

    def _add(self, codec: Codec, where: str) -> None:
        if codec.name in self._codecs:
            raise ConfigError(f"{where} brings a second codec named {codec.name!r}; give it a name of its own")
        self._codecs[codec.name] = codec


def _codecs_in(found: Any, where: str) -> tuple[Codec, ...]:
    """The codecs that a module, or an entry point's object, brings."""
    if isinstance(found, Codec):
        return (found,)
    codecs = getattr(found, "CODECS", None) or (getattr(found, "CODEC", None),)
    if not all(isinstance(codec, Codec) for codec in codecs):
        raise ConfigError(f"{where} holds no codec; end it with CODEC = YourCodec()")
    return tuple(codecs)


def _fitting(codecs: list[Codec], kind: type) -> tuple[Codec, ...]:
    root = module_of(kind).partition(".")[0]
    fitting = (codec for codec in codecs if not codec.roots or root in codec.roots)
    return tuple(sorted(fitting, key=lambda codec: (codec.order, codec.name)))
