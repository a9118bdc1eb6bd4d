"""The code of a run, stored under its digest: the project's modules, and what no module holds.

Modules that the stages reach by imports, outside the standard library and installed packages, go into a zip with
their package data. What cannot be imported elsewhere (``__main__``, notebook cells, lambdas, local functions) goes
in as one cloudpickle, together, so that module state is shared as it would be locally. A worker unpacks a
capsule once per node and needs neither the source tree nor the author's working directory.
"""

from __future__ import annotations

import functools
import inspect
import io
import json
import os
import platform
import shutil
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.backends.closure import Closure
from orchestrator.errors import ArtifactCorrupt, NotSerializable, VersionSkew
from orchestrator.graph.stage import Stage, resolve
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.types import Digest

MANIFEST = "capsule.json"
PICKLE = "capsule.pickle"
FORMAT = 1
_EPOCH = (1980, 1, 1, 0, 0, 0)
_CACHED = type(functools.lru_cache(len))


def build(stages: Mapping[str, Stage[..., Any]], store: ArtifactStore) -> Digest:
    """Store the code of these stages (``Traced.stages``) and return the capsule's digest.

    Equal code gives an equal digest; the same for code that is pickled, as far as cloudpickle allows.

    Args:
        stages: By ``StageSpec.ref``; those that are called only inside ``@dynamic`` bodies among them.

    Raises:
        NotSerializable: something that a stage refers to cannot be pickled; names the stage and the thing.
    """
    closure = Closure()
    loose: dict[str, Stage[..., Any]] = {}
    for reference, stage in sorted(stages.items()):
        closure.add_function(stage.function)
        for check in stage.checks:
            closure.add_function(type(check))
            for held in filter(inspect.isfunction, getattr(check, "__dict__", {}).values()):
                closure.add_function(held)
        if not stage.importable:
            loose[reference] = stage
    files = closure.files()
    if loose:
        files[PICKLE] = _pickled(loose)
    manifest = {
        "format": FORMAT,
        "python": platform.python_version(),
        "references": sorted(stages),
        "left_out": closure.left_out,
    }
    files[MANIFEST] = json.dumps(manifest, sort_keys=True, indent=1).encode()
    return store.put(_zipped(tuple(sorted(files.items()))))


@functools.lru_cache(maxsize=1)
def _zipped(files: tuple[tuple[str, bytes], ...]) -> bytes:
    """An archive of named files; the last one is kept, because the next run has the same code as a rule."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o600 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 6)
    return packed.getvalue()


def _pickled(loose: Mapping[str, Stage[..., Any]]) -> bytes:
    """Stages that no import finds, with the classes of ``__main__`` that values may refer to."""
    try:
        return _dumped({"stages": dict(loose), "main": _main_classes(loose)})
    except Exception as whole:
        for reference, stage in loose.items():
            try:
                _dumped(stage)
            except Exception as error:
                raise NotSerializable(
                    f"stage {stage.name!r} ({reference}) cannot be sent to a worker: {error}; create what it refers to "
                    "inside its body, or give it as an argument"
                ) from error
        raise NotSerializable(f"the stages cannot be sent to a worker together: {whole}") from whole


def _dumped(value: object) -> bytes:
    import cloudpickle

    class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
        """Takes functions with a cache (``functools.cache``) by value too; cloudpickle knows only their names."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, _CACHED) and not _is_importable(obj):
                return _cached_anew, (obj.__wrapped__, obj.cache_parameters())
            return super().reducer_override(obj)

    packed = io.BytesIO()
    Pickler(packed).dump(value)
    return packed.getvalue()


def _cached_anew(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _is_importable(function: Any) -> bool:
    """True if a worker that imports its module finds this very object."""
    found: Any = sys.modules.get(function.__module__) if function.__module__ != "__main__" else None
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def _main_classes(loose: Mapping[str, Stage[..., Any]]) -> dict[str, type]:
    """Classes defined in ``__main__``, if a stage comes from there: its values are stored under their names."""
    if not any(reference.startswith("__main__:") for reference in loose):
        return {}
    import cloudpickle

    found: dict[str, type] = {}
    for name, value in vars(sys.modules["__main__"]).items():
        if isinstance(value, type) and value.__module__ == "__main__":
            try:
                cloudpickle.dumps(value)
            except Exception:
                continue  # not needed, or pickling the stage that needs it says why
            found[name] = value
    return found


class UnpackedCapsule:
    """The code of a run on this machine; see ``definitions.Code``. For processes that are workers and nothing else.

    Args:
        root: Directory of its files; they come first when modules are imported.
    """

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._loose: dict[str, Any] = {}
        manifest = json.loads((root / MANIFEST).read_bytes())
        _check_python(manifest["python"])
        if self.root not in sys.path:
            sys.path.insert(0, self.root)
        if (root / PICKLE).exists():
            self._load_loose((root / PICKLE).read_bytes())

    def function(self, reference: str) -> Callable[..., Any]:
        """The author's function of a stage.

        Raises:
            ImportError, AttributeError: the capsule lacks it.
        """
        found = self._loose.get(reference)
        if found is None:
            found = resolve(reference)
        function: Callable[..., Any] = found.function if isinstance(found, Stage) else found
        return function

    def _load_loose(self, pickled: bytes) -> None:
        """Unpickle what no module holds; ``__main__`` is the author's from now on."""
        import cloudpickle

        main = sys.modules["__main__"] = types.ModuleType("__main__")
        content = cloudpickle.loads(pickled)
        self._loose = content["stages"]
        main.__dict__.update(content["main"])
        for stage in self._loose.values():
            if stage.function.__module__ == "__main__":
                self._publish(main, stage)

    def _publish(self, main: types.ModuleType, stage: Stage[..., Any]) -> None:
        """Give ``__main__`` the names that a function of it uses, as far as it has none of its own."""
        for name, value in getattr(stage.function, "__globals__", {}).items():
            main.__dict__.setdefault(name, value)
        name = getattr(stage.function, "__qualname__", "")
        if name.isidentifier():
            main.__dict__.setdefault(name, stage)


def load(digest: Digest, store: ArtifactStore, cache_dir: Path) -> UnpackedCapsule:
    """Unpack a capsule, unless this node has it already, and make its code importable in this process.

    Raises:
        ArtifactMissing, ArtifactCorrupt: the store does not have it, or not as it was.
        VersionSkew: it was made with another Python.
    """
    root = cache_dir / digest[:32]
    if not (root / MANIFEST).exists():
        _unpack(bytes(store.get(digest)), digest, root)
    return UnpackedCapsule(root)


def _unpack(data: bytes, digest: Digest, root: Path) -> None:
    """Unpack beside the place and rename: of several workers that do it at once, one wins."""
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{root.name}-", dir=root.parent))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(fresh)
        os.rename(fresh, root)
    except zipfile.BadZipFile as error:
        raise ArtifactCorrupt(f"the capsule {digest} is not a zip archive: {error}") from error
    except OSError:
        if not (root / MANIFEST).exists():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check_python(made_with: str) -> None:
    here = platform.python_version()
    if made_with.split(".")[:2] != here.split(".")[:2]:
        raise VersionSkew(f"the run's code was packed with Python {made_with}, this worker has {here}; use one version")
