"""Cleaning text without knowing its language: one Unicode form, tidy blanks, addresses masked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from stages.columns import require_columns, set_column, texts
from stages.transforms import InputKind, Transform

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"']+", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2060\ufeff]")

EMAIL = "<email>"
URL = "<url>"


@dataclass(frozen=True)
class Wording(Transform):
    """Cleans text columns in place; what is left empty becomes null.

    Attributes:
        lower: Whether upper case goes.
        mask: Whether URLs become ``<url>`` and e-mail addresses ``<email>``.
    """

    lower: bool
    mask: bool

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Text."""
        return dict.fromkeys(self.columns, "text")

    def apply(self, table: pa.Table) -> pa.Table:
        """Clean the columns."""
        require_columns(table.column_names, self.columns, self.place)
        for name in self.columns:
            distinct = pc.dictionary_encode(texts(table.column(name), name))
            cleaned = pa.array(
                [cleaned_text(text, self.lower, self.mask) for text in distinct.dictionary.to_pylist()], pa.string()
            )
            table = set_column(table, name, cleaned.take(distinct.indices))
        return table


def cleaned_text(text: str, lower: bool = False, mask: bool = False) -> str | None:
    """A text in Unicode's composed form (NFC), single blanks between words, control characters out; None if empty."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    if mask:
        text = _EMAIL.sub(EMAIL, _URL.sub(URL, text))
    text = _BLANKS.sub(" ", text).strip()
    return (unicodedata.normalize("NFC", text.lower()) if lower else text) or None


def fit_wording(table: pa.Table, columns: Sequence[str], lower: bool = False, mask: bool = False) -> Wording:
    """Clean text; nothing is learned, only the columns checked.

    Args:
        lower: Take upper case away.
        mask: Put ``<url>`` and ``<email>`` in place of addresses.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not text.
    """
    wording = Wording(list(columns), lower, mask)
    wording.apply(table.slice(0, 0))
    return wording
