"""Text to numbers by its words: TF-IDF over a learned vocabulary, or over hash buckets that need none.

Words are runs of letters and digits of any script, lower-cased after NFKC, so nothing depends on a language. The
result is dense columns, meant for hundreds of words rather than hundreds of thousands.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import ConfigError
from stages.columns import Floats, add_matrix, require_columns, texts
from stages.errors import DataRejected
from stages.features.categories import bucket_of
from stages.features.counts import added_up
from stages.transforms import InputKind, Transform

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")

WHERE = "The table of fit_tfidf"


@dataclass(frozen=True)
class Tfidf(Transform):
    """Weights of words in one text column: count × inverse document frequency, each row brought to length 1.

    Attributes:
        words: The vocabulary, sorted; empty with hash buckets.
        weights: Inverse document frequency of each word or bucket.
        longest: Words of a phrase: 1 takes single words, 2 also pairs.
    """

    words: list[str]
    weights: list[float]
    longest: int
    logarithmic: bool

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Text."""
        return dict.fromkeys(self.columns, "text")

    @property
    def makes(self) -> list[str]:
        """``column:word``, or ``column:bucket``."""
        return [f"{self.columns[0]}:{word}" for word in self.words or range(len(self.weights))]

    def apply(self, table: pa.Table) -> pa.Table:
        """Add one column for each word or bucket; a missing text has zeros everywhere."""
        (name,) = self.columns
        require_columns(table.column_names, [name], self.place)
        counts = self._counts(texts(table.column(name), name))
        if self.logarithmic:
            counts = np.log1p(counts)
        weighed = counts * np.array(self.weights)
        length = np.sqrt((weighed**2).sum(axis=1, keepdims=True))
        weighed /= np.where(length > 0, length, 1.0)
        return add_matrix(table, self.makes, weighed)

    def _counts(self, column: Any) -> Floats:
        places = {word: position for position, word in enumerate(self.words)}
        counts = np.zeros((len(column), len(self.weights)))
        for row, text in enumerate(column.to_pylist()):
            for phrase in phrases(text, self.longest):
                place = places.get(phrase) if self.words else bucket_of(phrase, len(self.weights))
                if place is not None:
                    counts[row, place] += 1
        return counts


def phrases(text: str | None, longest: int = 1) -> list[str]:
    """The words of a text, and runs of up to ``longest`` of them joined by a blank."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text or "").lower())
    return [" ".join(found[i : i + size]) for size in range(1, longest + 1) for i in range(len(found) - size + 1)]


def fit_tfidf(
    table: pa.Table,
    column: str,
    most: int = 500,
    min_rows: int = 2,
    max_share: float = 0.9,
    longest: int = 1,
    buckets: int | None = None,
    logarithmic: bool = True,
) -> Tfidf:
    """Learn which words there are and how much each tells.

    Args:
        most: Words kept, those found in most rows.
        min_rows: Words in fewer rows are left out.
        max_share: Words in a larger share of the rows are left out: they tell nothing.
        longest: Longest phrase, in words.
        buckets: Hash words into so many columns instead of learning a vocabulary.
        logarithmic: The tenth mention of a word adds less than the first.

    Raises:
        NotFound: the column is missing.
        DataRejected: it is not text, there are no rows, or no word is left.
        ConfigError: a number makes no sense.
    """
    counts = count_words(table, column, longest, buckets)
    return tfidf_of([counts], column, most, min_rows, max_share, longest, buckets, logarithmic)


@dataclass(frozen=True)
class WordCounts:
    """In how many rows each word occurs.

    Attributes:
        rows: Rows looked at.
        found: A table of ``value``, a word or the number of a bucket, and ``rows``.
    """

    rows: int
    found: pa.Table


def count_words(table: pa.Table, column: str, longest: int = 1, buckets: int | None = None) -> WordCounts:
    """Look at one table, or a part of one; no rows are fine.

    Raises:
        NotFound: the column is missing.
        DataRejected: it is not text.
        ConfigError: a number makes no sense.
    """
    if longest < 1 or (buckets is not None and buckets < 1):
        raise ConfigError(f"fit_tfidf cannot work with {longest=}, {buckets=}")
    require_columns(table.column_names, [column], WHERE)
    found: Counter[Any] = Counter()
    for entry in pc.value_counts(texts(table.column(column), column)).to_pylist():  # equal texts have equal words
        words = set(phrases(entry["values"], longest))
        for word in words if buckets is None else {bucket_of(word, buckets) for word in words}:
            found[word] += entry["counts"]
    values = pa.array(list(found), pa.string() if buckets is None else pa.int64())
    return WordCounts(table.num_rows, pa.table({"value": values, "rows": pa.array(found.values(), pa.int64())}))


def tfidf_of(
    parts: Sequence[WordCounts],
    column: str,
    most: int = 500,
    min_rows: int = 2,
    max_share: float = 0.9,
    longest: int = 1,
    buckets: int | None = None,
    logarithmic: bool = True,
) -> Tfidf:
    """``fit_tfidf`` of what was counted in parts."""
    if most < 1 or not 0 < max_share <= 1:
        raise ConfigError(f"fit_tfidf cannot work with {most=}, {max_share=}")
    rows = sum(part.rows for part in parts)
    if not rows:
        raise DataRejected(f"{WHERE} has no rows; look at what was read or filtered before it.")
    table = added_up([part.found for part in parts])
    found = dict(zip(table["value"].to_pylist(), table["rows"].to_pylist(), strict=True))
    if buckets is not None:
        return Tfidf([column], [], [_idf(found.get(i, 0), rows) for i in range(buckets)], longest, logarithmic)
    usable = [(word, count) for word, count in found.items() if min_rows <= count <= max_share * rows]
    kept = sorted(word for word, _ in sorted(usable, key=lambda pair: (-pair[1], pair[0]))[:most])
    if not kept:
        raise DataRejected(
            f"Column {column!r} has {len(found)} words in {rows} rows, none of them in at least {min_rows} rows "
            f"and at most {max_share:.0%}; lower min_rows or raise max_share.",
            column=column,
        )
    return Tfidf([column], kept, [_idf(found[word], rows) for word in kept], longest, logarithmic)


def _idf(rows_with: int, rows: int) -> float:
    return math.log((1 + rows) / (1 + rows_with)) + 1
