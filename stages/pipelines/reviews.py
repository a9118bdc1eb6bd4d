"""Sentiment of food reviews: does a customer think a product is great? From the words, beside a list of plain words.

5,000 real reviews of 5,000 products, already apart in 4,000 to learn from and 1,000 to judge by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from orchestrator import each, pipeline, stage, when
from stages.columns import require_columns, set_numbers, texts
from stages.features import fit_plan
from stages.features.plan import PlanStep
from stages.features.words import phrases
from stages.ingestion import dataset
from stages.pipelines.outcome import Outcome, accept, conclude
from stages.preprocessing import add_flag
from stages.quality import allowed, not_null, row_count
from stages.training import ColumnModel, train_estimator
from stages.validation import check_leakage, duel, evaluate, gate

GLAD = """
    amazing best delicious easy excellent fantastic favorite fresh glad good great happy healthy love loved loves
    perfect pleased recommend smooth tasty wonderful yum yummy
"""
SORRY = """
    awful bad bitter bland broken cheap disappointed disappointing disgusting gross hard horrible money nasty never
    not old poor return sick stale terrible waste weird worse worst
"""
"""What most people would write down in five minutes: the simplest way to tell a tone."""

REVIEW_CHECKS = [not_null("review"), allowed("score", ["great", "other"]), row_count(low=1_000)]


@stage(cache="30d", timeout="5m")
def add_tone(table: pa.Table, column: str, glad: Sequence[str], sorry: Sequence[str]) -> pa.Table:
    """Add ``tone`` from 0 to 1: the share of glad words among the glad and the sorry ones, and one half for none.

    Raises:
        NotFound: the column is missing.
        DataRejected: it is not text.
    """
    require_columns(table.column_names, [column], "The table given to add_tone")
    good, bad = frozenset(glad), frozenset(sorry)
    tones = np.empty(table.num_rows)
    for row, text in enumerate(texts(table.column(column), column).to_pylist()):
        words = phrases(text)
        ups, downs = sum(word in good for word in words), sum(word in bad for word in words)
        tones[row] = (ups + 1) / (ups + downs + 2)
    return set_numbers(table, "tone", tones)


@stage(cache="30d", timeout="5m")
def add_length(table: pa.Table, column: str) -> pa.Table:
    """Add ``length``: ``short``, ``medium`` or ``long`` by words, for slices.

    Raises:
        NotFound: the column is missing.
        DataRejected: it is not text.
    """
    require_columns(table.column_names, [column], "The table given to add_length")
    counts = [len(phrases(text)) for text in texts(table.column(column), column).to_pylist()]
    names = ["short" if count < 40 else "medium" if count < 100 else "long" for count in counts]
    return table.append_column("length", pa.array(names))


@pipeline
def reviews(
    words: int = 1000,
    longest: int = 1,
    strength: float = 1.0,
    min_accuracy: float = 0.75,
    min_slice_auc: float = 0.75,
    max_overlap: float = 0.01,
    directory: str | None = None,
) -> Outcome:
    """Tell reviews that call a product great from others.

    Args:
        words: Most words, or phrases, of the vocabulary.
        longest: Words of the longest phrase.
        strength: Inverse strength of the regularisation of the logistic regression.
        min_accuracy, min_slice_auc: What the gate asks for: overall, and of short, medium and long reviews each.
        max_overlap: Share of the reviews to judge by that may be among those learned from, word by word.
        directory: Where the converted data sets are kept; ``$ORC_HOME/datasets`` when not given.
    """
    load = dataset.options(checks=REVIEW_CHECKS)
    train, raw = (
        add_flag(
            load("modeldata", item, ["product", "review", "score"], directory=directory),
            "great",
            "score",
            "==",
            "great",
        )
        for item in ("training_data", "testing_data")
    )
    test = add_tone(add_length(raw, "review"), "review", GLAD.split(), SORRY.split())
    tfidf = {"column": "review", "most": words, "longest": longest, "min_rows": 3, "max_share": 0.5}
    steps: list[PlanStep] = [{"tfidf": tfidf}]
    planned = fit_plan(train, steps, keep=["great"])
    params = {"C": strength, "max_iter": 300}
    logistic = "sklearn.linear_model.LogisticRegression"
    model = train_estimator(planned.table, planned.plan, "great", logistic, params).model
    baseline = ColumnModel("tone", "great", [0.0, 1.0])

    metrics = ["accuracy", "auc", "brier"]
    scores = duel.map(metric=each(metrics), challenger=model, champion=baseline, table=test)
    found = evaluate(model, test, limits={"accuracy": min_accuracy}, by=["length"], slice_limit=min_slice_auc)
    leaks = check_leakage(train, test, "great", ["review"], max_overlap=max_overlap)
    record = gate([found.findings, scores[0].finding, leaks.findings])
    when(record.passed, then=lambda: accept.options(publish="model:reviews")(model))
    return conclude("food reviews", scores, record, found)
