"""``orc models`` and ``orc promote``, as a user sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Orc

CHURN = "tests.stages.churners:churn"


@pytest.mark.timeout(900)
def test_a_model_from_the_run_to_production_and_its_card(orc: Orc, tmp_path: Path) -> None:
    assert orc("run", CHURN, "-q").code == 0
    assert orc("run", CHURN, "strength=0.1", "min_auc=2.0", "-q").code == 3
    sample = ("--sample", "data:customers", "--max-p99-ms", "1e6", "--json", "-q")
    up = orc("promote", "churn@v1", "--to", "staging", "--alias", "challenger", *sample)
    assert up.code == 0, up.err
    document = up.document("promote")
    assert (document["promoted"], document["stage"], document["promotion"]["before"]) == (True, "staging", "dev")
    assert all(check["passed"] for check in document["checks"])
    assert {"run", "gate", "size in bytes"} <= {check["name"] for check in document["checks"]}

    assert orc("promote", "churn@v1", "--to", "staging", "--json").document("promote")["reason"].endswith("already")
    refused = orc("promote", "churn@v2", "--to", "staging", "--max-size-mib", "0.0001", "-q")
    assert refused.code == 3
    assert "model:churn@v2 stays in dev: gate: auc" in refused.err
    assert "size in bytes" in refused.err
    skipped = orc("promote", "churn@v2", "--to", "production")
    assert (skipped.code, "goes one stage at a time" in skipped.err) == (3, True)

    listed = orc("models", "--json").document("models")
    assert [(one["address"], one["stage"], one["aliases"]) for one in listed] == [
        ("model:churn@v2", "dev", []), ("model:churn@v1", "staging", ["challenger"]),
    ]  # fmt: skip
    assert 0.5 < listed[0]["scores"]["auc"] <= 1
    page, text = tmp_path / "card.html", tmp_path / "card.md"
    one = orc("models", "churn@staging", "--json", "--card", str(page)).document("model")
    assert one["lineage"]["sources"][0]["step"] == "customers"
    assert one["promotions"][0]["to"] == "staging"
    assert one["card"]["purpose"] == "Whom to call."
    assert "<svg" in page.read_text()
    assert orc("models", "churn@staging", "--card", str(text)).code == 0
    assert "## Calibration" in text.read_text()
    told = orc("models", "churn@staging").out
    assert "data        customers: Table, 300 rows" in told


def test_what_cannot_be_is_refused_in_one_line(orc: Orc) -> None:
    for arguments, code, said in (
        (("models",), 0, ""),
        (("models", "data:x"), 2, "is a data set, not a model"),
        (("models", "churn"), 4, "nothing has been published yet"),
        (("promote", "churn@v1", "--to", "prod"), 2, "there is no stage 'prod'"),
        (("models", "--card", "x.md"), 2, "writes the card of one version"),
    ):
        done = orc(*arguments)
        assert (done.code, said in done.err, "Traceback" in done.err) == (code, True, False), done.err
