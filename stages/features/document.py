"""Fitted features as plain JSON data and back, for what leaves the artifact store: a served model's payload.

Reading builds nothing but the classes listed here, from plain values, so it runs no code of the author.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

from orchestrator.errors import ConfigError
from stages.features.categories import Frequency, Hashed, OneHot, Ordinal
from stages.features.dates import DateParts
from stages.features.embeddings import Embedding
from stages.features.encoders import Calendar, Category, Features, Number
from stages.features.keys import KeyStatistics
from stages.features.plan import FeaturePlan
from stages.features.scaling import Scale
from stages.features.selection import Selection
from stages.features.target_means import TargetMeans
from stages.features.vectors import Vector
from stages.features.words import Tfidf
from stages.preprocessing.missing import Fill
from stages.preprocessing.outliers import Bounds
from stages.preprocessing.wording import Wording
from stages.transforms import Numbers

Encoding: TypeAlias = FeaturePlan | Features
"""What turns raw rows into the numbers of a model."""

KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Bounds, Calendar, Category, DateParts, Embedding, FeaturePlan, Features, Fill, Frequency, Hashed, KeyStatistics,
        Number, Numbers, OneHot, Ordinal, Scale, Selection, TargetMeans, Tfidf, Vector, Wording,
    )
}  # fmt: skip
"""All that a document may hold."""

_KIND = "is"


def encoding_to_document(encoding: Encoding) -> dict[str, Any]:
    """The fitted state as dicts, lists, texts and numbers."""
    document: dict[str, Any] = _plain(encoding)
    return document


def encoding_from_document(document: Any) -> Encoding:
    """The fitted state back.

    Raises:
        ConfigError: it is no such document.
    """
    encoding = _built(document)
    if not isinstance(encoding, FeaturePlan | Features):
        raise ConfigError(f"The document holds {type(encoding).__name__}, not fitted features.")
    return encoding


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {_KIND: type(value).__name__} | {
            field.name: _plain(getattr(value, field.name)) for field in fields(value)
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _built(document: Any) -> Any:
    if isinstance(document, list):
        return [_built(item) for item in document]
    if not isinstance(document, dict) or _KIND not in document:
        return document
    kind = KINDS.get(document[_KIND])
    given = {name: _built(value) for name, value in document.items() if name != _KIND}
    wanted = {field.name for field in fields(kind)} if kind else set()
    if kind is None or given.keys() != wanted:
        raise ConfigError(
            f"The document holds {document[_KIND]!r} with {sorted(given)}; this version reads "
            f"{sorted(wanted) if kind else 'one of ' + ', '.join(KINDS)}."
        )
    return kind(**given)
