"""Facts of a run as server-sent events: complete, in order, and from any number on."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

from tests.api import flow
from tests.api.conftest import Client, Served


def events(client: Client, path: str, **headers: str) -> Iterator[tuple[str, str, Any]]:
    """(event, id, data) until the stream ends or the caller has had enough."""
    connection = http.client.HTTPConnection(client.host, timeout=60)
    try:
        connection.request("GET", f"/api/v1{path}", headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        fields: dict[str, str] = {}
        for line in map(bytes.decode, iter(answer.readline, b"")):
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
                fields = {}
    finally:
        connection.close()


def test_a_stream_has_every_fact_and_ends(home: Served) -> None:
    run = home.runs["wide"]
    there = [recorded.seq for recorded in home.process.installation.journal.facts(run)]
    got = list(events(home.client, f"/runs/{run}/events"))
    assert sorted({int(number) for name, number, _ in got if name == "fact"}) == there
    assert got[-1] == ("end", "", {"seq": there[-1]})
    assert len(got) < 5_000  # twenty thousand items, in ranges


def test_a_stream_goes_on_where_it_was_cut_off(home: Served) -> None:
    run = home.runs["shapes"]
    whole = [one for one in events(home.client, f"/runs/{run}/events") if one[0] == "fact"]
    cut = whole[len(whole) // 2][1]
    rest = [one for one in events(home.client, f"/runs/{run}/events", Last_Event_ID=cut) if one[0] == "fact"]
    assert rest == [one for one in whole if int(one[1]) > int(cut)]
    assert home.client(f"/api/v1/runs/{run}/events", Last_Event_ID="x").status == 400
    assert home.client("/api/v1/runs/nothing/events").status == 404


def test_who_watches_is_told_of_what_happens(waiting: Served) -> None:
    """Several clients on one run that is answered and resumed meanwhile all see every fact, in order."""
    run = waiting.runs["asking"]
    got: list[list[str]] = [[] for _ in range(5)]
    first = [threading.Event() for _ in got]

    def watch(place: int) -> None:
        for name, number, _ in events(waiting.client, f"/runs/{run}/events"):
            if name == "fact":
                got[place].append(number)
            first[place].set()

    threads = [threading.Thread(target=watch, args=(place,)) for place in range(len(got))]
    for thread in threads:
        thread.start()
    for one in first:
        assert one.wait(60)
    waiting.client(f"/api/v1/runs/{run}/cancel", "POST", {}, Idempotency_Key="k")
    waiting.process.resume(run)
    for thread in threads:
        thread.join(60)
    facts = [str(recorded.seq) for recorded in waiting.process.installation.journal.facts(run)]
    assert got == [facts] * len(got)


def test_the_list_of_runs_tells_of_a_new_one(waiting: Served) -> None:
    stream = events(waiting.client, "/runs/events")
    name, seen, _ = next(stream)
    assert name == "runs"
    waiting.process.run(flow.shapes)
    assert next(stream)[1] != seen
    stream.close()
