from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orchestrator

ROOT = Path(__file__).parents[1]
HEAVY = ("ray", "pyarrow", "pandas", "numpy", "msgspec", "sqlalchemy", "fsspec", "blake3", "typer", "rich")


def in_fresh_process(program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600, env=environment, check=True
    )
    return done.stdout.strip()


def test_importing_the_root_loads_nothing_heavy() -> None:
    loaded = in_fresh_process(
        f"import sys, orchestrator; print([name for name in {HEAVY!r} if name in sys.modules]); "
        "print([name for name in sys.modules if name.startswith('orchestrator.') and name.split('.')[1] "
        "not in ('graph', 'errors', 'types', 'ports', 'sweeps')])"
    )
    assert loaded.splitlines() == ["[]", "[]"]


def test_tracing_a_pipeline_loads_nothing_heavy() -> None:
    loaded = in_fresh_process(
        "import sys\nfrom orchestrator import pipeline, stage\n"
        "f = stage(lambda x: x, name='f')\np = pipeline(lambda: f.map([f(1), 2]), name='p')\np.graph(); p()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert loaded == "[]"


def test_every_public_name_can_be_imported() -> None:
    namespace: dict[str, object] = {}
    exec("from orchestrator import *", namespace)
    assert set(orchestrator.__all__) <= set(namespace)
    for name in orchestrator.__all__:
        assert getattr(orchestrator, name) is namespace[name]
    assert set(orchestrator.__all__) <= set(dir(orchestrator))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(orchestrator, "nothing_of_that_name")
