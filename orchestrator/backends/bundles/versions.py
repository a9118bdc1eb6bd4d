"""What both sides must agree on: Python, engine, and the libraries whose formats travel."""

from __future__ import annotations

import platform
import sys
from importlib import metadata


def versions() -> dict[str, str]:
    """Versions of this process; libraries only if they are loaded, because asking is slower than a small run."""
    found = {"python": platform.python_version(), "engine": _installed("ray-orchestrator")}
    for library in ("pyarrow", "ray"):
        module = sys.modules.get(library)
        if module is not None:
            found[library] = str(getattr(module, "__version__", ""))
    return found


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
