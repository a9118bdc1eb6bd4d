"""A run's code goes into a capsule and comes out of it, in another process, without the source."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from orchestrator import stage
from orchestrator.artifacts import open_store
from orchestrator.backends import capsule
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, NotSerializable, VersionSkew
from tests.backends import faulty

ROOT = Path(__file__).resolve().parents[2]

BUILD = """
import json, sys
sys.path.insert(0, {root!r})
from orchestrator.artifacts import open_store
from orchestrator.backends import capsule
store = open_store({store!r})
stages = {{one.spec.ref: one for one in STAGES}}
print(json.dumps([capsule.build(stages, store), sorted(stages)]))
"""

CALL = """
import json, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from orchestrator.artifacts import open_store
from orchestrator.backends import capsule
code = capsule.load({digest!r}, open_store({store!r}), Path({cache!r}))
print(json.dumps([code.function(ref)(*args) for ref, args in {calls!r}]))
"""


class Author:
    """A person with a project directory and a store."""

    def __init__(self, tmp_path: Path) -> None:
        self.project = tmp_path / "project"
        self.project.mkdir()
        self.store = tmp_path / "artifacts"
        self.cache = tmp_path / "capsules"
        self.elsewhere = tmp_path / "elsewhere"
        self.elsewhere.mkdir()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.project / name.replace("__", "/").replace("_py", ".py").replace("_txt", ".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    def build(self, script: str) -> tuple[str, list[str]]:
        """Run a script that sets STAGES; the capsule's digest and the references."""
        path = self.project / "script.py"
        path.write_text(textwrap.dedent(script) + BUILD.format(root=str(ROOT), store=str(self.store)))
        return tuple(json.loads(_run([sys.executable, str(path)], self.project)))

    def call(self, digest: str, *calls: tuple[str, list[int]]) -> list[object]:
        """Call stages of a capsule in a process that knows nothing of the project."""
        shutil.rmtree(self.project)
        self.project.mkdir()
        source = CALL.format(root=str(ROOT), store=str(self.store), cache=str(self.cache), digest=digest, calls=calls)
        found: list[object] = json.loads(_run([sys.executable, "-P", "-c", source], self.elsewhere))
        return found

    def names(self, digest: str) -> set[str]:
        """Files in a capsule."""
        return set(zipfile.ZipFile(BytesIO(bytes(open_store(self.store).get(digest)))).namelist())


def _run(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author(tmp_path)


def test_modules_travel_with_what_they_import_and_nothing_else(author: Author) -> None:
    author.write(
        flow_py="""
            from orchestrator import stage
            from lib import maths

            @stage
            def double(x: int) -> int:
                from lib.deep.inner import offset
                return maths.twice(x) + offset()
        """,
        lib__maths_py="from .names import FACTOR\ndef twice(x): return FACTOR * x",
        lib__names_py="FACTOR = 2",
        lib__deep__inner_py="""
            from pathlib import Path
            def offset(): return int((Path(__file__).parent / "offset.txt").read_text())
        """,
        lib__deep__offset_txt="5",
        unused_py="raise SystemExit('not to be imported')",
    )
    (author.project / "lib" / "__init__.py").write_text("")
    (author.project / "lib" / "deep" / "__init__.py").write_text("")
    digest, references = author.build("from flow import double\nSTAGES = [double]\n")
    assert references == ["flow:double"]
    assert author.names(digest) == {
        "capsule.json", "flow.py", "lib/__init__.py", "lib/maths.py", "lib/names.py", "lib/deep/__init__.py",
        "lib/deep/inner.py", "lib/deep/offset.txt",
    }  # fmt: skip
    assert author.call(digest, ("flow:double", [4])) == [13]


def test_stages_of_a_script_share_its_state_and_its_classes(author: Author) -> None:
    author.write(helper_py="def shift(x): return x + 100")
    digest, references = author.build(
        """
        from dataclasses import dataclass
        from orchestrator import stage
        import helper

        SEEN = []

        @dataclass
        class Fitted:
            x: int

        @stage
        def remember(x: int) -> int:
            SEEN.append(Fitted(x))
            return helper.shift(x)

        @stage
        def recall() -> list:
            import sys
            main = sys.modules["__main__"]
            return [[one.x for one in SEEN], main.Fitted is type(SEEN[0]), Fitted.__module__]

        def outer(k):
            @stage
            def local(x: int) -> int:
                return x * k
            return local

        STAGES = [remember, recall, outer(3), stage(lambda x: x - 1, name="minus")]
        """
    )
    remember, recall = (next(r for r in references if f":{name}" in r) for name in ("remember", "recall"))
    local, minus = (next(r for r in references if name in r) for name in ("local", "lambda"))
    calls = [(remember, [1]), (recall, []), (local, [5]), (minus, [5])]
    assert author.call(digest, *calls) == [101, [[1], True, "__main__"], 15, 4]
    assert "helper.py" in author.names(digest)


def test_equal_code_gives_an_equal_capsule_and_other_code_another(author: Author) -> None:
    source = "from orchestrator import stage\n@stage\ndef one(x: int) -> int:\n    return x{}\n"
    script = "from flow import one\nSTAGES = [one]\n"
    author.write(flow_py=source.format(""))
    first = author.build(script)[0]
    assert author.build(script)[0] == first
    author.write(flow_py=source.format(" + 1"))
    assert author.build(script)[0] != first


def test_the_engine_does_not_travel(author: Author) -> None:
    author.write(flow_py="from orchestrator import stage\n@stage\ndef one(x: int) -> int:\n    return x\n")
    digest, _ = author.build("from flow import one\nSTAGES = [one]\n")
    assert not any(name.startswith("orchestrator") for name in author.names(digest))


def test_large_package_data_is_left_out_and_named(author: Author) -> None:
    author.write(lib__flow_py="from orchestrator import stage\n@stage\ndef one(x: int) -> int:\n    return x\n")
    (author.project / "lib" / "__init__.py").write_text("")
    (author.project / "lib" / "big.bin").write_bytes(b"\0" * (5 * 1024 * 1024))
    digest, _ = author.build("from lib.flow import one\nSTAGES = [one]\n")
    archive = zipfile.ZipFile(BytesIO(bytes(open_store(author.store).get(digest))))
    assert "lib/big.bin" not in archive.namelist()
    assert json.loads(archive.read(capsule.MANIFEST))["left_out"] == ["lib/big.bin"]


def test_what_cannot_be_pickled_is_refused_with_the_stage_that_needs_it(tmp_path: Path) -> None:
    import threading

    lock = threading.Lock()

    @stage
    def locked(x: int) -> int:
        with lock:
            return x

    with pytest.raises(NotSerializable, match=r"stage 'locked'.*lock"):
        capsule.build({locked.spec.ref: locked}, open_store(tmp_path / "artifacts"))


def test_a_capsule_that_is_gone_or_broken_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path / "artifacts")
    with pytest.raises(ArtifactMissing):
        capsule.load("0" * 64, store, tmp_path / "capsules")
    with pytest.raises(ArtifactCorrupt, match="not a zip"):
        capsule.load(store.put(b"something else"), store, tmp_path / "capsules")
    assert list((tmp_path / "capsules").iterdir()) == []


def test_a_capsule_of_another_python_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "artifacts")
    digest = capsule.build({"tests.backends.faulty:add": faulty.add}, store)
    archive = zipfile.ZipFile(BytesIO(bytes(store.get(digest))))
    manifest = json.loads(archive.read(capsule.MANIFEST))
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as other:
        other.writestr(capsule.MANIFEST, json.dumps({**manifest, "python": "3.8.1"}))
    with pytest.raises(VersionSkew, match=r"3\.8\.1"):
        capsule.load(store.put(packed.getvalue()), store, tmp_path / "capsules")


def test_a_function_with_a_cache_goes_along_from_the_main_script(tmp_path: Path) -> None:
    author = Author(tmp_path)
    digest, (reference,) = author.build("""
        import functools
        from orchestrator import stage

        @functools.cache
        def factor(x):
            return x * 10

        @functools.lru_cache(maxsize=7)
        def summand(x):
            return x + factor.cache_parameters()["typed"] + summand.cache_parameters()["maxsize"]

        @stage
        def scaled(x):
            return factor(x) + summand(x)

        STAGES = [scaled]
    """)
    assert author.call(digest, (reference, [4])) == [40 + 4 + 7]
