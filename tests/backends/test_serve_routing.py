"""One replica of a router between versions that are plain functions: what it does when things go wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from orchestrator.backends.serve_answer import Answer
from orchestrator.backends.serve_routing import BUSY, Asked, Limits, Reply, Routing
from orchestrator.ports.traffic import Traffic

BODY = b'{"rows": [{"x": 1}]}'
GOOD = Answer(200, b'{"predictions":[1]}')


def routing(ask: Callable[[str, Asked], Awaitable[Answer]], traffic: Traffic | None, **limits: float) -> Routing:
    made = Routing("shop", ask)
    if traffic is not None:
        made.follow(traffic, Limits(**limits))  # type: ignore[arg-type]
    return made


async def good(version: str, asked: Asked) -> Answer:
    return GOOD


def test_before_there_is_traffic_clients_are_asked_to_come_again() -> None:
    reply = asyncio.run(routing(good, None).answer(BODY, None))
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert routing(good, None).describe().status == 503


def test_too_many_requests_are_turned_away_and_are_nobodys_error() -> None:
    async def many() -> tuple[list[Reply], Routing]:
        free = asyncio.Event()

        async def slow(version: str, asked: Asked) -> Answer:
            await free.wait()
            return GOOD

        router = routing(slow, Traffic(1, {"v1": 100}, "v1"), in_flight=3)
        asked = [asyncio.create_task(router.answer(BODY, None)) for _ in range(5)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        free.set()
        return list(await asyncio.gather(*asked)), router

    replies, router = asyncio.run(many())
    assert Counter(reply.status for reply in replies) == {200: 3, 503: 2}
    assert all(reply.headers.get("Retry-After") == "1" for reply in replies if reply.status == 503)
    counts = router.take()["v1"]
    assert (counts.requests, counts.errors) == (3, 0)


def test_a_champion_whose_replica_dies_is_asked_once_more() -> None:
    deaths = ["the actor died"]

    async def dies_once(version: str, asked: Asked) -> Answer:
        if deaths:
            raise RuntimeError(deaths.pop())
        return GOOD

    router = routing(dies_once, Traffic(1, {"v1": 100}, "v1"))
    assert asyncio.run(router.answer(BODY, "someone")).body == GOOD.body
    counts = router.take()["v1"]
    assert (counts.requests, counts.errors) == (1, 1)
    deaths += ["the actor died", "and died again"]
    reply = asyncio.run(router.answer(BODY, None))
    assert (reply.status, reply.headers["X-Model-Version"]) == (503, "v1")
    assert b"the actor died" in reply.body


def test_a_champions_own_error_is_what_the_client_gets() -> None:
    async def fails(version: str, asked: Asked) -> Answer:
        return Answer(500, b'{"error":"no idea"}')

    router = routing(fails, Traffic(1, {"v1": 50, "v2": 50}, "v1"))
    replies = [asyncio.run(router.answer(BODY, f"c{number}")) for number in range(20)]
    assert {(reply.status, reply.body) for reply in replies} == {(500, b'{"error":"no idea"}')}
    counts = router.take()
    assert sum(one.requests for one in counts.values()) == 20  # each counts once, for whom it was given to
    assert all(one.errors == one.requests > 0 for one in counts.values())


def test_an_older_generation_changes_nothing() -> None:
    router = routing(good, Traffic(4, {"v1": 100}, "v1"))
    router.follow(Traffic(3, {"v2": 100}, "v2"), Limits())
    assert asyncio.run(router.answer(BODY, None)).headers["X-Model-Version"] == "v1"


def test_what_could_not_be_reported_is_reported_later() -> None:
    router = routing(good, Traffic(1, {"v1": 100}, "v1"))
    asyncio.run(router.answer(BODY, "a"))
    taken = router.take()
    asyncio.run(router.answer(BODY, "a"))
    router.put_back(taken)
    assert router.take()["v1"].clients["a"].requests == 2
    assert router.take() == {}


def test_only_so_many_requests_are_mirrored_at_a_time() -> None:
    async def mirrored() -> int:
        started = 0

        async def ask(version: str, asked: Asked) -> Answer:
            nonlocal started
            if version == "v2":
                started += 1
                await asyncio.sleep(60)
            return GOOD

        router = routing(ask, Traffic(1, {"v1": 100}, "v1", {"v2": 100}, mirror_limit=2))
        for _ in range(5):
            assert (await router.answer(BODY, None)).headers["X-Model-Version"] == "v1"
        await asyncio.sleep(0)
        return started

    assert asyncio.run(mirrored()) == 2


def test_an_answer_to_a_copy_that_comes_too_late_is_an_error() -> None:
    async def mirrored() -> Routing:
        async def ask(version: str, asked: Asked) -> Answer:
            if version == "v2":
                await asyncio.sleep(60)
            return GOOD

        router = routing(ask, Traffic(1, {"v1": 100}, "v1", {"v2": 100}, mirror_timeout_s=0.01))
        assert (await router.answer(BODY, None)).headers["X-Model-Version"] == "v1"
        await asyncio.gather(*router._mirrors)
        return router

    counts = asyncio.run(mirrored()).take()
    assert (counts["v2"].requests, counts["v2"].errors, counts["v2"].compared) == (1, 1, 0)
    assert counts["v1"].errors == 0


def test_a_version_that_has_too_much_to_do_did_nothing_wrong() -> None:
    full = {"v2"}

    async def ask(version: str, asked: Asked) -> Answer:
        return Answer(BUSY, b'{"error":"come again"}') if version in full else GOOD

    router = routing(ask, Traffic(1, {"v1": 0, "v2": 100}, "v1"))
    reply = asyncio.run(router.answer(BODY, None))
    assert (reply.status, reply.headers["X-Model-Version"]) == (200, "v1")
    tally = router.take()["v2"].tally()
    assert (tally.turned_away, tally.requests, tally.errors) == (1, 0, 0)

    full.add("v1")
    reply = asyncio.run(router.answer(BODY, None))
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")

    router = routing(ask, Traffic(1, {"v1": 100}, "v1"))
    reply = asyncio.run(router.answer(BODY, None))
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    tally = router.take()["v1"].tally()
    assert (tally.turned_away, tally.requests, tally.errors) == (1, 0, 0)


def test_one_request_has_one_id_wherever_it_is_asked() -> None:
    async def both() -> tuple[Reply, list[tuple[str, str]]]:
        seen: list[tuple[str, str]] = []

        async def ask(version: str, asked: Asked) -> Answer:
            seen.append((version, asked.id))
            return Answer(500, b"{}") if version == "v2" else GOOD

        router = routing(ask, Traffic(1, {"v1": 0, "v2": 100}, "v1", {"v3": 100}))
        reply = await router.answer(BODY, None)
        await asyncio.gather(*router._mirrors)
        return reply, seen

    reply, seen = asyncio.run(both())
    assert [version for version, _ in seen] == ["v2", "v1", "v3"]
    assert {request for _, request in seen} == {reply.headers["X-Answer-Id"].removeprefix("v1--")}
