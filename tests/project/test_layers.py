"""Who imports what, beyond what import-linter says: third-party packages, lazy imports, and what an import loads."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SOURCES = [*sorted((ROOT / "orchestrator").rglob("*.py")), *sorted((ROOT / "stages").rglob("*.py"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

EXTRAS = (
    "demo", "postgres", "s3", "training", "sweeps", "quality", "onnx", "images", "torch", "text", "delta",
    "traces", "lineage", "mlflow", "alerts",
)  # fmt: skip
"""What the packages may import where it is installed."""

DISTRIBUTIONS = {
    "PIL": "pillow",
    "mlflow": "mlflow-skinny",
    "openlineage": "openlineage-python",
    "opentelemetry": "opentelemetry-sdk",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost-cpu",
    "yaml": "pyyaml",
}
"""Distributions whose import name is another."""

OWNERS = {
    "alembic": {"orchestrator.store"},
    "apprise": {"orchestrator.channels"},
    "fastapi": {"orchestrator.api"},
    "fsspec": {"orchestrator.artifacts"},
    "jinja2": {"orchestrator.api"},
    "mlflow": {"orchestrator.sinks"},
    "openlineage": {"orchestrator.sinks"},
    "opentelemetry": {"orchestrator.sinks", "orchestrator.backends"},
    "prometheus_client": {"orchestrator.api"},
    "pysqlite3": {"orchestrator.store"},
    "ray": {"orchestrator.backends"},
    "rich": {"orchestrator.cli"},
    "sqlalchemy": {"orchestrator.store", "stages.ingestion"},
    "sqlite3": {"orchestrator.store"},
    "typer": {"orchestrator.cli"},
    "uvicorn": {"orchestrator.api"},
    "yaml": {"orchestrator.config"},
}
"""Packages that only one part of the engine may import."""

LAZY = (
    "orchestrator.app",
    "orchestrator.cli",
    "orchestrator.backends",
    "orchestrator.artifacts.codecs",
    "orchestrator.channels",
    "orchestrator.sinks",
    "orchestrator.testing",
)
"""Where imports inside functions may be, besides the package root."""

LAZY_BESIDES = {
    "orchestrator.api.server": "the web framework, once there is something to serve",
    "orchestrator.artifacts.files": "fsspec, where a path is no local file",
    "orchestrator.artifacts.preview": "pyarrow and numpy, where a value is a table or an array",
    "orchestrator.artifacts.store": "fsspec, where the store is no local directory",
    "orchestrator.config.schema": "jsonschema, where there is a file or an option of a stage to check",
    "orchestrator.store.opening": "psycopg and what needs it, where the journal is on a server",
    "orchestrator.store.migrations": "alembic, where the schema is not current",
}
"""Modules that import inside functions because a run of one small stage would pay for what it does not use."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, ast.stmt, bool]]:
    """Every imported module, its statement, and whether it is inside a function."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.module or "", node, id(node) in inside


def third_party(path: Path) -> Iterator[tuple[str, int]]:
    for name, node, _ in imports(path):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("orchestrator", "stages"):
            yield top, node.lineno


def within(module: str, packages: set[str] | tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_every_imported_package_is_declared() -> None:
    declared = {
        canonicalize_name(Requirement(text).name)
        for text in [
            *PROJECT["dependencies"],
            *(text for extra in EXTRAS for text in PROJECT["optional-dependencies"][extra]),
        ]
    }
    undeclared = {
        f"{path.relative_to(ROOT)}:{line}: {top}"
        for path in SOURCES
        for top, line in third_party(path)
        if canonicalize_name(DISTRIBUTIONS.get(top, top)) not in declared
    }
    assert not undeclared


def test_packages_stay_with_their_owners() -> None:
    strays = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path in SOURCES
        for name, node, _ in imports(path)
        if within(module_name(path), ("orchestrator",))
        and name.partition(".")[0] in OWNERS
        and not within(module_name(path), OWNERS[name.partition(".")[0]])
    }
    assert not strays


def test_the_graph_needs_only_the_standard_library() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}: {top}"
        for path in SOURCES
        if within(module_name(path), ("orchestrator.graph", "orchestrator.errors", "orchestrator.types"))
        for top, line in third_party(path)
    }
    assert not found


def test_imports_inside_functions_are_where_they_may_be() -> None:
    strays = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path in SOURCES
        for name, node, inside in imports(path)
        if inside and within(module_name(path), ("orchestrator",)) and module_name(path) != "orchestrator"
        if not within(module_name(path), LAZY) and module_name(path) not in LAZY_BESIDES
    }
    assert not strays


@pytest.mark.parametrize("heavy", ["ray", "pyarrow", "pandas", "numpy", "msgspec", "sqlalchemy", "orchestrator.store"])
def test_importing_the_package_loads_nothing_heavy(heavy: str) -> None:
    code = f"import sys, orchestrator; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=600).returncode == 0


def test_files_are_of_a_size_that_can_be_read() -> None:
    long = {
        str(path.relative_to(ROOT)): count for path in SOURCES if (count := len(path.read_text().splitlines())) > 450
    }
    assert not long


def test_there_are_no_drawers() -> None:
    drawers = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    assert not [path for path in SOURCES if path.stem in drawers or path.parent.name in drawers]
