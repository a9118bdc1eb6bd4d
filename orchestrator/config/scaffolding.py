"""A new project that runs as it is: a pipeline, its settings, an example of data, and tests.

The files are templates beside this module; ``$name`` in them is the name of the pipeline.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from orchestrator.errors import ConfigError

_TEMPLATES = Path(__file__).with_name("scaffold")

_FILES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    ".gitignore": "gitignore",
    "$name/__init__.py": None,
    "$name/pipelines.py": "pipelines.py",
    "configs/$name.yaml": "pipeline.yaml",
    "configs/strict.yaml": "strict.yaml",
    "data/measurements.csv": "measurements.csv",
    "tests/test_$name.py": "test_pipeline.py",
}
"""Files of a project and the templates they are made from; None for an empty one."""

_TAKEN = frozenset({"orchestrator", "stages", "tests", "configs", "data", "strict", "test"})


def project_name(folder: Path) -> str:
    """The name that a folder suggests: its own, as Python can use it."""
    return re.sub(r"\W+", "_", folder.resolve().name.lower()).strip("_")


def write_project(folder: Path, name: str) -> list[Path]:
    """Write a project into a folder, which is made if need be; nothing is written over.

    Args:
        name: Of the package and of the pipeline in it.

    Returns:
        The files that were written.

    Raises:
        ConfigError: the name is none that Python can use, files of the project are there already, or the folder
            cannot be written.
    """
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name in _TAKEN:
        raise ConfigError(
            f"{name!r} cannot be the name of a project; take a small word of letters, digits and _ with --name"
        )
    values = {"name": name, "package": name.replace("_", "-")}
    files = {folder / Template(path).substitute(values): template for path, template in _FILES.items()}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise ConfigError(f"{', '.join(there)} exists already; nothing was written. Take an empty folder")
    try:
        for path, template in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "" if template is None else (_TEMPLATES / f"{template}.tmpl").read_text()
            path.write_text(Template(text).substitute(values))
    except OSError as error:
        raise ConfigError(f"the project cannot be written: {error}") from None
    return list(files)
