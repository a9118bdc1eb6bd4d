"""The turnstile of an application's router, without Ray: who hears of a change, and when it counts as done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from orchestrator.backends import serve_ledger
from orchestrator.backends.serve_ledger import Ledger
from orchestrator.errors import TrafficMoved


def config(generation: int) -> dict[str, Any]:
    return {"traffic": {"generation": generation}, "limits": {}}


def nothing() -> None:
    """Nothing speaks against it, and nothing is to be done."""


async def replica(ledger: Ledger, name: str, heard: list[int]) -> None:
    """Does what it hears, at once."""
    generation = 0
    while True:
        news = await ledger.follow(name, generation)
        if news is not None:
            generation = news["traffic"]["generation"]
            heard.append(generation)


def with_replicas(names: str, work: Callable[[Ledger], Coroutine[Any, Any, None]]) -> list[int]:
    """What the replicas have heard when the work is done."""
    heard: list[int] = []

    async def run() -> None:
        ledger = Ledger()
        following = [asyncio.create_task(replica(ledger, name, heard)) for name in names]
        await asyncio.sleep(0)
        await work(ledger)
        for one in following:
            one.cancel()

    asyncio.run(run())
    return heard


def test_a_change_is_done_when_all_replicas_have_said_so() -> None:
    order: list[str] = []

    async def work(ledger: Ledger) -> None:
        assert await ledger.change(lambda: order.append("checked"), lambda: order.append("kept"), config(2), 2)
        assert await ledger.change(nothing, nothing, config(3), 2)
        assert await ledger.change(nothing, nothing, config(3), 2)  # that again is done already

    assert with_replicas("ab", work) == [2, 2, 3, 3]
    assert order == ["checked", "kept"]


def test_nobody_hears_of_what_is_refused_or_not_kept() -> None:
    def moved() -> None:
        raise TrafficMoved("somebody was faster")

    def lost() -> None:
        raise RuntimeError("Serve did not keep it")

    async def work(ledger: Ledger) -> None:
        with pytest.raises(TrafficMoved):
            await ledger.change(moved, nothing, config(2), 1)
        with pytest.raises(RuntimeError):
            await ledger.change(nothing, lost, config(2), 1)
        assert await ledger.change(nothing, nothing, config(2), 1)

    assert with_replicas("a", work) == [2]


def test_who_is_not_there_or_says_nothing_is_left_to_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_ledger, "DONE_S", 0.2)

    async def work(ledger: Ledger) -> None:
        assert not await ledger.change(nothing, nothing, config(2), 2)  # there is one of two
        silent = asyncio.create_task(ledger.follow("silent", 2))
        await asyncio.sleep(0)
        assert not await ledger.change(nothing, nothing, config(3), 2)  # the other hears of it and does not do it
        assert (await silent) == config(3)
        monkeypatch.setattr(serve_ledger, "HOLD_S", 0.0)
        await asyncio.sleep(0.01)  # what was heard of longer ago than that is not there any more
        assert not await ledger.change(nothing, nothing, config(4), 2)

    assert with_replicas("a", work) == [2, 3, 4]


def test_without_news_a_replica_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_ledger, "HOLD_S", 0.01)
    assert asyncio.run(Ledger().follow("a", 1)) is None
