from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import dynamic, pipeline, stage
from orchestrator.graph.fingerprint import fingerprint, fingerprint_parts, reachable
from orchestrator.graph.stage import Stage

Load = Callable[..., types.ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Writes modules of a project and imports the first one anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written: set[str] = set()

    def write_and_import(**modules: str) -> types.ModuleType:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
            written.add(name)
        for name in written:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return importlib.import_module(next(iter(modules)))
        finally:
            sys.dont_write_bytecode = before

    yield write_and_import
    for name in written:
        sys.modules.pop(name, None)


BASE = """
    from math import sqrt

    FACTOR = 3

    class Scaler:
        offset = 1
        def apply(self, x):
            return helper(x) + self.offset

    def helper(x):
        return x * FACTOR

    def body(x, power=2):
        "Doc."
        # comment
        return [sqrt(Scaler().apply(item)) ** power for item in x]
"""


def same_after(load: Load, old: str, new: str) -> bool:
    before = fingerprint(load(project_a=BASE).body)
    assert old in BASE
    return fingerprint(load(project_a=BASE.replace(old, new)).body) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# comment", "# another comment"),
        ('"Doc."', '"Other\\n    text."'),
        ('        "Doc."\n', ""),
        ("x * FACTOR", "(x   *\n        FACTOR)"),
        ("def body(x, power=2)", "def body(x: list, power: int = 2) -> list"),
        ("def helper(x):", "def unused(): return 1\n\n    def helper(x):"),
        ("FACTOR = 3", "FACTOR = 3\n    UNUSED = 4"),
    ],
)
def test_what_does_not_count(load: Load, old: str, new: str) -> None:
    assert same_after(load, old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 3", "FACTOR = 4"),
        ("FACTOR = 3", "FACTOR = 3.0"),
        ("power=2", "power=3"),
        ("x * FACTOR", "x + FACTOR"),
        ("offset = 1", "offset = 2"),
        ("+ self.offset", "- self.offset"),
        ("** power", "* power"),
        ("from math import sqrt", "from cmath import sqrt"),
    ],
)
def test_what_counts(load: Load, old: str, new: str) -> None:
    assert not same_after(load, old, new)


def test_modules_of_the_project_are_followed(load: Load) -> None:
    main = (
        "import project_c\nfrom project_b import helper\ndef body(x):\n    return helper(x) + project_c.tool.scale(x)\n"
    )
    b = "def helper(x):\n    return deeper(x)\ndef deeper(x):\n    return x + 1\n"
    c = "import project_d as tool\n"
    d = "K = 1\ndef scale(x):\n    return x * K\n"

    def digest(**changed: str) -> str:
        modules = {"project_a": main, "project_b": b, "project_c": c, "project_d": d, **changed}
        return fingerprint(load(**modules).body)

    before = digest()
    assert digest() == before
    assert digest(project_b=b.replace("+ 1", "+ 2")) != before
    assert digest(project_d=d.replace("K = 1", "K = 2")) != before
    assert digest(project_d=d + "\ndef other():\n    pass\n") == before


def test_imports_in_a_body_are_followed(load: Load) -> None:
    main = "def body(x):\n    from project_b import helper\n    return helper(x)\n"
    b = "import project_c\ndef helper(x):\n    return project_c.K + x\n"

    def digest(b: str, c: str) -> str:
        return fingerprint(load(project_a=main, project_b=b, project_c=c).body)

    before = digest(b, "K = 1\n")
    assert digest(b + "# comment\n", "K = 1\n") == before
    assert digest(b.replace("+ x", "- x"), "K = 1\n") != before
    assert digest(b, "K = 2\n") != before


def test_parts_tell_which_function_changed(load: Load) -> None:
    before = fingerprint_parts(load(project_a=BASE).body)
    after = fingerprint_parts(load(project_a=BASE.replace("x * FACTOR", "x + FACTOR")).body)
    assert set(before) == {"project_a:body", "project_a:helper", "project_a:Scaler", "project_a:Scaler.apply"}
    assert {name for name in before if before[name] != after[name]} == {"project_a:helper"}


def test_closures_count_by_value() -> None:
    def make(factor: Any) -> Callable[[int], Any]:
        return lambda x: x * factor

    assert fingerprint(make(2)) == fingerprint(make(2))
    assert fingerprint(make(2)) != fingerprint(make(3))
    assert fingerprint(make([1, {"a": {2, 3}}])) == fingerprint(make([1, {"a": {3, 2}}]))
    assert fingerprint(make({"a": 1})) != fingerprint(make({"a": 2}))


def test_arrays_and_objects_in_closures() -> None:
    import numpy as np
    import pyarrow as pa

    def make(thing: Any) -> Callable[[], Any]:
        def body() -> Any:
            return thing

        return body

    for first, second in (
        (np.arange(3), np.arange(4)),
        (pa.table({"a": [1]}), pa.table({"a": [2]})),
    ):
        assert fingerprint(make(first)) == fingerprint(make(first))
        assert fingerprint(make(first)) != fingerprint(make(second))
    import threading

    assert fingerprint(make(threading.Lock())) == fingerprint(make(threading.Lock()))


def test_the_environment_is_no_code() -> None:
    from os import environ

    def body() -> Any:
        return os.environ.get("HOME"), environ.get("X")

    before = fingerprint(body)
    environ["ORC_TEST_CHANGED"] = "1"
    try:
        assert fingerprint(body) == before
    finally:
        del environ["ORC_TEST_CHANGED"]


def test_recursion_and_cycles_end() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    cycle: list[Any] = []
    cycle.append(cycle)
    assert fingerprint(even) != fingerprint(odd)
    assert fingerprint(lambda: cycle)


def test_without_source_the_bytecode_counts() -> None:
    def make(text: str) -> Callable[..., Any]:
        namespace: dict[str, Any] = {"__name__": "nowhere"}
        exec(text, namespace)
        function: Callable[..., Any] = namespace["f"]
        return function

    plain = make("def f(x):\n    return x in {'a', 'b'}")
    assert fingerprint(plain) == fingerprint(make("# c\n\n\ndef f(x):\n    return x in {'a', 'b'}"))
    assert fingerprint(plain) != fingerprint(make("def f(x):\n    return x in {'a', 'c'}"))


def test_two_lambdas_on_one_line_differ() -> None:
    first, second = (lambda x: x + 1), (lambda x: x + 2)
    assert fingerprint(first) != fingerprint(second)


def test_decorators_of_the_author_count_and_options_do_not() -> None:
    def make(factor: int) -> Any:
        import functools

        def scaled(function: Callable[[int], int]) -> Callable[[int], int]:
            @functools.wraps(function)
            def wrapper(x: int) -> int:
                return function(x) * factor

            return wrapper

        @scaled
        def body(x: int) -> int:
            return x

        return body

    assert fingerprint(make(1)) != fingerprint(make(2))

    @stage(retries=3)
    def first(x: int) -> int:
        return x

    assert first.options(num_cpus=2).spec.fingerprint == first.spec.fingerprint


def test_the_digest_is_the_same_in_another_process(load: Load, tmp_path: Path) -> None:
    module = load(
        project_a=BASE
        + "\n    NAMES = {'a', 'b', 'c'}\n    def named(x):\n        return x in NAMES or x in {'d', 'e', 'f'}\n"
    )
    program = (
        "import project_a\nfrom orchestrator.graph.fingerprint import fingerprint\n"
        "print(fingerprint(project_a.body), fingerprint(project_a.named))"
    )
    root = Path(__file__).parents[2]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [fingerprint(module.body), fingerprint(module.named)]


def test_each_tracing_takes_the_code_as_it_is_then(load: Load) -> None:
    module = load(
        project_a="from orchestrator import stage, pipeline\ndef helper():\n    return 1\n"
        "@stage\ndef f() -> int:\n    return helper()\n@pipeline\ndef p() -> int:\n    return f()\n"
    )
    before = module.p.graph().node("f").stage.fingerprint
    module.helper = lambda: 2
    assert module.p.graph().node("f").stage.fingerprint != before


@stage
def leaf() -> int:
    return 1


@stage
def deep() -> int:
    return 2


def between() -> int:
    return deep()


@pipeline
def piped() -> int:
    return leaf()


@dynamic
def island() -> int:
    table = {"a": [between]}
    return table["a"][0]() + piped() + island()


def test_stages_reachable_from_a_dynamic_body() -> None:
    assert set(reachable(island.function, Stage)) == {deep, leaf, island}


def test_packages_that_a_body_would_import_are_not_imported_to_look_at_it() -> None:
    def lazy() -> object:
        from wsgiref.handlers import SimpleHandler

        return SimpleHandler

    for name in [name for name in sys.modules if name.partition(".")[0] == "wsgiref"]:
        del sys.modules[name]
    fingerprint(lazy)
    assert "wsgiref" not in sys.modules


def test_modules_of_the_project_are_not_imported_to_look_at_them(load: Load) -> None:
    main = "def body(x):\n    from project_b import helper\n    return helper(x)\n"
    b = "raise RuntimeError('this takes seconds')\ndef helper(x):\n    return x\n"
    before = fingerprint(load(project_a=main, project_b=b).body)
    assert "project_b" not in sys.modules
    assert fingerprint(load(project_a=main, project_b=b.replace("return x", "return -x")).body) != before
