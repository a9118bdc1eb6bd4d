"""The model card as a page and as Markdown: whole in itself, figures as text too, and no markup of its author."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from orchestrator.serving import CardBin, CardData, CardScore, CardSlice, ModelCard
from orchestrator.views.model_card import CardView, card_html, card_markdown
from orchestrator.views.model_card_plots import Interval, bars_svg, histogram_svg, intervals_svg
from tests.views.test_quality import Page

CARD = ModelCard(
    title="Who <leaves>?",
    task="regression",
    target="delay",
    estimator="lightgbm.LGBMRegressor",
    purpose="# Calls | to make\n\n<script>alert(1)</script>",
    limits="",
    author="ann@example.org",
    inputs={"income": "number", "a|b": "text"},
    data=[CardData("judged by", 400, "1" * 32, "at", "2024-01-01", "2024-02-01")],
    scores=[CardScore("rmse", 12.5, 11.0, 14.0, 20.0, False), CardScore("r2", None, None, None, None, True)],
    bins=[CardBin(40, 1.0, 1.5), CardBin(40, 5.0, 4.5)],
    residuals=[(-2.0, 0.0, 3), (0.0, 2.0, 5)],
    importance={"income": 0.25, "a|b": -0.01},
    slices=[CardSlice("plan & pro", 100, 13.0, 10.0, 16.0), CardSlice("plan", 5, None, None, None)],
    metric="rmse",
    environment={"python": "3.11.7"},
)  # fmt: skip
VIEW = CardView(
    "model:churn@v3", "staging", ["champion"], [("size", "9.4 KiB")], CARD, {"auc": 0.8}, [("run", "churn-1")],
    [(True, "run", "succeeded"), (False, "gate", "auc 0.5 is below 0.7")],
    [("2026-01-01", "dev → staging", "by ann: <b>better</b>")],
)  # fmt: skip
BARE = replace(VIEW, card=None, promotions=())


@pytest.mark.parametrize("view", [VIEW, BARE])
def test_the_page_is_whole_in_itself(view: CardView) -> None:
    text = card_html(view)
    page = Page(re.sub(r"<(line|rect|path|circle|polyline)([^>]*)/>", r"<\1\2></\1>", text))
    assert page.open == []
    assert "<script" not in text
    assert "<b>" not in text
    assert not re.search(r"(src|href)=|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert {"staging", "9.4 KiB", "auc 0.5 is below 0.7"} <= set(page.texts)


def test_every_figure_of_a_plot_is_text_as_well() -> None:
    texts = set(Page(re.sub(r"<(line|rect|path|circle|polyline)([^>]*)/>", "", card_html(VIEW))).texts)
    assert {"12.5 [11, 14]", "20", "cannot be told", "0.25", "13 [10, 16]", "4.5", "2024-01-01 to 2024-02-01"} <= texts
    assert {"Who <leaves>?", "plan & pro", "The author has not said.", "by ann: <b>better</b>"} <= texts
    assert "Predicted and actual" in texts


def test_markdown_has_the_same_and_no_markup_of_the_author() -> None:
    text = card_markdown(VIEW)
    assert "| rmse | less | 12.5 [11, 14] | 20 |" in text
    assert "| a\\|b | text |" in text
    assert "| income | 0.25 | ████████████████████ |" in text
    assert "<script" not in text
    assert [line for line in text.splitlines() if line.startswith("#")][:3] == [
        "# Who &lt;leaves>?", "## What it is for", "## Limits",
    ]  # fmt: skip
    assert "As its run reported them." in card_markdown(BARE)


def test_plots_stand_what_has_no_width_and_no_value() -> None:
    for rows in ([], [Interval("x", None)], [Interval("x", 0.0, 0.0, 0.0, 0.0)], [Interval("n" * 90, 1.0)]):
        assert "nan" not in intervals_svg("Scores", rows, shared=True, level=0.0)
    assert 'width="0.0"' in bars_svg("Importance", [("x", -1.0)])
    assert "nan" not in histogram_svg("Residuals", [(1.0, 1.0, 7)], "left")
