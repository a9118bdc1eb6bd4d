"""Where pipeline files are, and how a written name becomes the Python object it names."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from orchestrator.config.suggestion import did_you_mean
from orchestrator.errors import ConfigError, NotFound, OrchestratorError

SUFFIXES = (".yaml", ".yml")


def shipped_configs() -> Path:
    """Directory of the pipeline files that come with the package, from a wheel or an editable checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find_pipeline_file(name: str, directory: Path | None = None) -> Path:
    """The file that ``name`` means: a path, or the bare name of a file under ``configs/``.

    A bare name is looked for in the project's ``configs/`` first and then among the shipped ones.

    Args:
        name: ``path/to/file.yaml`` or ``flights``.
        directory: Where relative paths start; the working directory when None.

    Raises:
        NotFound: there is no such file; names the files that look like it.
    """
    start = Path.cwd() if directory is None else directory
    if name.endswith(SUFFIXES):
        path = start / Path(name).expanduser()
        if path.is_file():
            return path
        raise NotFound(
            f"there is no file {path}{did_you_mean(Path(name).name, _names_in(path.parent, with_suffix=True))}"
        )
    places = (start / "configs", shipped_configs())
    for place in places:
        for suffix in SUFFIXES:
            if (place / f"{name}{suffix}").is_file():
                return place / f"{name}{suffix}"
    known = sorted({found for place in places for found in _names_in(place)})
    raise NotFound(
        f"there is no pipeline file {name!r} under {places[0]} or among the shipped ones{did_you_mean(name, known)}; "
        "write a path to a .yaml file, the name of one under configs/, or module:pipeline"
    )


def import_named(reference: str) -> Any:
    """The object that ``module:name`` names.

    Raises:
        ConfigError: the text has another form, or the module has no such name, or importing it failed.
        NotFound: there is no such module.
    """
    module_name, colon, qualname = reference.partition(":")
    if not (colon and module_name and qualname):
        raise ConfigError(f"{reference!r} is not of the form module:name")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(f"importing {module_name} failed: there is no module {error.name!r}") from error
        raise NotFound(
            f"there is no module {error.name!r} for {reference!r}; run the command in the directory that holds it, "
            "or install the project"
        ) from None
    except OrchestratorError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"importing {module_name} failed: {type(error).__name__}: {error}") from error
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            public = [known for known in vars(found) if not known.startswith("_")] if hasattr(found, "__dict__") else []
            raise ConfigError(f"{module_name} has no {qualname!r}{did_you_mean(name, public)}") from None
    return found


def _names_in(directory: Path, with_suffix: bool = False) -> list[str]:
    if not directory.is_dir():
        return []
    files = [path for path in sorted(directory.iterdir()) if path.suffix in SUFFIXES]
    return [path.name if with_suffix else path.stem for path in files]
