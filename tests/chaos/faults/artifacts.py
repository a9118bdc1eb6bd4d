"""Artifacts whose bytes change on the disk."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.graph.fact import FINISHED
from tests.chaos.episode import Episode, Stuck
from tests.chaos.faults import Fault
from tests.chaos.work import LARGE_BYTES

_HEADER_BYTES = 1_000
"""At most so much does a codec add."""


def bit_flipped(episode: Episode) -> None:
    """One bit of an output is another one before it is read: the run recomputes it, or fails and says what to do."""
    episode.begin(go=False)
    episode.wait_for_outcomes(episode.width // 4, of="large[")
    episode.may_fail = True
    path = episode.rng.choice(_outputs(episode.place.home / "artifacts"))
    flip(path, episode.rng.randrange(8 * LARGE_BYTES))
    episode.healed()
    episode.go()
    episode.wait_for(lambda: episode.state in FINISHED, "the run to end", driven=True)
    if episode.state != "failed":
        return
    finished = episode.handle.finished
    reason = finished.reason if finished else ""
    if path.name not in reason or str(path) not in reason or "again" not in reason:
        raise Stuck(f"the run does not say which file is damaged and what to do: {reason}")


def flip(path: Path, bit: int) -> None:
    """Change one bit of a file in its place."""
    os.chmod(path, 0o600)
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))
    os.chmod(path, 0o400)


def _outputs(artifacts: Path) -> list[Path]:
    sizes = range(LARGE_BYTES, LARGE_BYTES + _HEADER_BYTES)
    return sorted(path for path in artifacts.glob("??/??/*") if path.stat().st_size in sizes)


FAULTS = [Fault("a bit flipped in an artifact before it is read", bit_flipped)]
