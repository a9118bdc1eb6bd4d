"""Where the pipeline of a recorded run is now: by the file that its graph names, as far as it can be imported here."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.config.locations import SUFFIXES, import_named
from orchestrator.errors import ConfigError
from orchestrator.graph.node import Graph
from orchestrator.graph.pipeline import Pipeline


def locate(graph: Graph, how: str = "--code module:pipeline, or --code FILE.yaml") -> str:
    """What to write to run the pipeline of a graph as it is now: ``module:name``, or the path of a pipeline file.

    Args:
        how: What to do if it is not found, for the message.

    Raises:
        ConfigError: it cannot be found from here; says how to name it.
    """
    file = Path(graph.source.file) if graph.source is not None else None
    advice = f"name the pipeline {graph.pipeline!r}: {how}"
    if file is None or not file.is_file():
        raise ConfigError(f"{file or 'the source of the run'} is not there any more; {advice}")
    if file.suffix in SUFFIXES:
        return str(file)
    module = _module_of(file)
    if module is None:
        raise ConfigError(f"{file} is not below the working directory and cannot be imported; {advice}")
    import_named(f"{module}:__name__")
    names = [
        name
        for name, found in vars(sys.modules[module]).items()
        if isinstance(found, Pipeline) and found.name == graph.pipeline and found.__module__ == module
    ]
    if len(names) != 1:
        several = f"several pipelines {graph.pipeline!r}: {', '.join(names)}" if names else "no such pipeline any more"
        raise ConfigError(f"{file} has {several}; {advice}")
    return f"{module}:{names[0]}"


def _module_of(file: Path) -> str | None:
    """Name under which a file can be imported from the working directory or another place on the path."""
    for place in [Path.cwd(), *(Path(one) for one in sys.path if one)]:
        try:
            parts = file.resolve().relative_to(place.resolve()).with_suffix("").parts
        except ValueError:
            continue
        if parts and all(part.isidentifier() for part in parts):
            return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return None
