"""The author's frames come before those of libraries."""

from __future__ import annotations

from orchestrator.views.frames import frame_lines, split_frames

OWN = ["job.py:3 in run", "features/rows.py:9 in parse"]
LIBRARY = ["/x/lib/python3.11/json/decoder.py:353 in raw_decode", "/x/site-packages/pandas/io.py:7 in read"]


def test_own_frames_first_and_the_innermost_marked() -> None:
    mixed = [OWN[0], LIBRARY[1], OWN[1], LIBRARY[0]]
    assert split_frames(mixed) == (OWN, [LIBRARY[1], LIBRARY[0]])
    assert frame_lines(mixed) == [
        "  job.py:3 in run",
        "> features/rows.py:9 in parse",
        f"  in libraries below: {LIBRARY[1]}; {LIBRARY[0]}",
    ]


def test_a_failure_in_libraries_alone_shows_these() -> None:
    assert split_frames(LIBRARY) == (LIBRARY, [])
    assert frame_lines([]) == []
