"""Tags that move with requests: what ``champion`` or ``production`` names is what answers, there and back.

The moves are what the step returns; they happen in the transaction in which it is finished, see ``Handover``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator import stage
from orchestrator.serving import Handover, Release, TagMove

Moves = Sequence[Sequence[Any]]
"""Name, tag, number of the version that has it and of the one that gets it; see ``TagMove``."""


@stage(effects=True)
def hand_over(sent: Release, promoted: Moves = (), sent_back: Moves = ()) -> Handover:
    """Move tags as a release came out.

    Args:
        promoted: What moves if the candidate answers all requests now.
        sent_back: What moves if it was sent back: what had been moved for it before.
    """
    moves = {"promoted": promoted, "rolled_back": sent_back}.get(sent.outcome, ())
    return Handover(sent.app, [TagMove(*move) for move in moves], sent.why)


@stage(effects=True)
def hand_back(gone: Mapping[str, Any], moves: Moves) -> Handover:
    """Move tags after requests went back.

    Args:
        gone: What ``rollback`` returned.
    """
    return Handover(gone["app"], [TagMove(*move) for move in moves], f"requests went back to {gone['version']}")
