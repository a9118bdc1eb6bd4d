"""The name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` if a known name looks like this one, else nothing."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def meant_or_known(name: str, known: Iterable[str]) -> str:
    """``did_you_mean``, or all known names if none looks like this one."""
    names = sorted(known)
    return did_you_mean(name, names) or (f"; there is {', '.join(names)}" if names else "")
