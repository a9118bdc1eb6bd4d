"""How wide a text will be, without a font at hand; and text made safe for XML."""

from __future__ import annotations

import html
import textwrap
import unicodedata

FAMILY = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_NARROW = frozenset("iljtfrI.,:;|'!()[]{}/·- ")
_WIDE = frozenset("mwMW@%→\u00d7")


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Upper estimate of the width of a line in common sans-serif fonts, in the unit of ``size``."""
    total = 0.0
    for character in text:
        if character in _NARROW:
            total += 0.42
        elif character in _WIDE or character.isupper():
            total += 0.8
        elif unicodedata.east_asian_width(character) in "WF":
            total += 1.05
        else:
            total += 0.63
    return total * size * (1.09 if bold else 1.0)


def wrapped(text: str, columns: int) -> list[str]:
    """Lines of about ``columns`` characters; words are never cut."""
    return textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False) or [""]


def escape(text: str) -> str:
    """Text for XML content and attributes; characters that XML does not know become a replacement mark."""
    return html.escape("".join(c if c >= " " and not "\ud800" <= c <= "\udfff" else "\ufffd" for c in text))
