"""``orc export yaml``: a pipeline as a file that is the same pipeline."""

from __future__ import annotations

from pathlib import Path

from orchestrator.config.graph_writer import same_graph
from orchestrator.config.job import load_job
from tests.cli.conftest import FLOW, Orc


def test_an_exported_file_has_the_graph_of_the_pipeline(orc: Orc, tmp_path: Path) -> None:
    marker = f"marker={tmp_path / 'marker'}"
    done = orc("export", "yaml", f"{FLOW}:numbers", "n=4", marker, "stages.square.num_cpus=0.5")
    assert done.code == 0, done.err
    assert done.out.startswith(f"description: Written from {FLOW}:numbers with ")
    assert "n=4" in done.out
    file = tmp_path / "numbers.yaml"
    file.write_text(done.out)
    asked = load_job(f"{FLOW}:numbers", ["n=4", marker, "stages.square.num_cpus=0.5"], {})
    assert same_graph(load_job(str(file), [], {}).pipeline.graph(), asked.pipeline.graph(**asked.params))


def test_what_cannot_be_exported_names_the_node(orc: Orc, tmp_path: Path) -> None:
    (tmp_path / "loose.py").write_text(
        "from orchestrator import pipeline, stage\n\n\n@stage\ndef size(x: bytes) -> int:\n    return len(x)\n\n\n"
        "@pipeline\ndef flow() -> int:\n    return size(b'abc')\n"
    )
    done = orc("export", "yaml", "loose:flow", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "node 'size': argument 'x': a builtins.bytes has no form in YAML" in done.err
