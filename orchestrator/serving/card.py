"""A model card as data: what a model is for, what it was judged by and how it did. Pages are drawn from it elsewhere.

Plain figures and texts only, so that a card is read back without running any code of its author.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CardScore:
    """One metric on the rows that the model was judged by, beside the baseline's.

    Attributes:
        low, high: 95 % interval of ``value``; None where there is none.
        greater_better: Direction.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    baseline: float | None
    greater_better: bool


@dataclass(frozen=True, slots=True)
class CardBin:
    """Rows with similar predictions: their mean beside the mean of what came true."""

    rows: int
    predicted: float
    actual: float


@dataclass(frozen=True, slots=True)
class CardSlice:
    """Some of the rows and how the model does on them; the interval is as in ``CardScore``."""

    name: str
    rows: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class CardData:
    """Rows that were learned from, or judged by.

    Attributes:
        digest: Which rows, see ``stages.rows``.
        time: Column that ``begin`` and ``end`` (ISO) are of; empty if rows have no time.
    """

    role: str
    rows: int
    digest: str
    time: str = ""
    begin: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What there is to know about a model before it is used.

    Attributes:
        purpose, limits, author: In the words of whoever is responsible; several paragraphs are parted by blank lines.
        inputs: What a request has to hold, by field: ``text``, ``number``, ``time``, ``numbers``.
        bins: Predictions against what came true, in bins of equally many rows. Of a model of several classes it is how
            sure it was against how often it was right.
        residuals: How many rows lie between two differences of outcome and prediction: (from, to, rows); numbers only.
        importance: How much worse ``metric`` gets when the values of an input are shuffled, largest first.
        metric: The one of slices and importance.
        environment: Versions of what it was made with.
    """

    title: str
    task: str
    target: str
    estimator: str
    purpose: str
    limits: str
    author: str
    inputs: Mapping[str, str]
    data: list[CardData]
    scores: list[CardScore]
    bins: list[CardBin]
    residuals: list[tuple[float, float, int]]
    importance: dict[str, float]
    slices: list[CardSlice]
    metric: str
    environment: dict[str, str] = field(default_factory=dict)
