"""``orc models`` and ``orc promote``, as a user sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from tests.cli.conftest import ROOT, Done, Orc

CHURN = "tests.stages.churners:churn"

Here = Callable[..., Done]


@pytest.fixture
def here(orc: Orc, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """``orc`` in this process: for commands that only look."""
    monkeypatch.setenv("ORC_HOME", str(orc.home))
    monkeypatch.chdir(ROOT)

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return Done(int(str(ended.value.code)), captured.out, captured.err)

    return run


@pytest.mark.timeout(900)
def test_a_model_from_the_run_to_production_and_its_card(
    orc: Orc, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert orc("run", CHURN, "-q").code == 0
    assert orc("run", CHURN, "strength=0.1", "min_auc=2.0", "-q").code == 3
    sample = ("--sample", "data:customers", "--max-p99-ms", "1e6", "--json", "-q")
    up = orc("promote", "churn@v1", "--to", "staging", "--alias", "challenger", *sample)
    assert up.code == 0, up.err
    document = up.document("promote")
    assert (document["promoted"], document["stage"], document["promotion"]["before"]) == (True, "staging", "dev")
    assert all(check["passed"] for check in document["checks"])
    assert {"run", "gate", "size in bytes"} <= {check["name"] for check in document["checks"]}
    assert here("promote", "churn@v1", "--to", "staging", "--json").document("promote")["reason"].endswith("already")

    monkeypatch.setenv("ORC_RAY_ADDRESS", "127.0.0.1:9")  # nobody is asked
    early = here("release", "churn@v1", "churn")
    assert (early.code, "promote it with: orc promote churn@v1 --to production" in early.err) == (3, True), early.err
    assert here("release", "churn@v1", "churn", "--stage", "live").code == 2
    assert "takes a reason" in here("release", "churn@v1", "churn", "--force").err
    monkeypatch.delenv("ORC_RAY_ADDRESS")

    refused = orc("promote", "churn@v2", "--to", "staging", "--max-size-mib", "0.0001", "-q")
    assert refused.code == 3
    assert "model:churn@v2 stays in dev: gate: auc" in refused.err
    assert "size in bytes" in refused.err
    skipped = here("promote", "churn@v2", "--to", "production")
    assert (skipped.code, "goes one stage at a time" in skipped.err) == (3, True)

    listed = here("models", "--json").document("models")
    assert [(one["address"], one["stage"], one["aliases"], one["scores"]) for one in listed] == [
        ("model:churn@v2", "dev", [], {"rows": 150.0}), ("model:churn@v1", "staging", ["challenger"], {"rows": 150.0}),
    ]  # fmt: skip
    page, text = tmp_path / "card.html", tmp_path / "card.md"
    one = here("models", "churn@staging", "--json", "--card", str(page)).document("model")
    assert one["lineage"]["sources"][0]["step"] == "customers"
    assert one["promotions"][0]["to"] == "staging"
    assert one["card"]["purpose"] == "Whom to call."
    assert "<svg" in page.read_text()
    assert here("models", "churn@staging", "--card", str(text)).code == 0
    assert "## Calibration" in text.read_text()
    assert "data        customers: Table, 300 rows" in here("models", "churn@staging").out
    assert "staging" in here("models", "churn").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("models",), 0, ""),
        (("models", "data:x"), 2, "is a data set, not a model"),
        (("models", "churn"), 4, "nothing has been published yet"),
        (("promote", "churn@v1", "--to", "staging"), 4, "nothing has been published yet"),
        (("models", "--card", "x.md"), 2, "writes the card of one version"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(here: Here, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = here(*arguments)
    assert (done.code, said in done.err, "Traceback" in done.err) == (code, True, False), done.err
