"""Named versions and cursors, on every back end: numbers without gaps or twins, moves from where a run began only."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from orchestrator.errors import CursorElsewhere, NotFound, PromotionRefused
from orchestrator.graph import fact as f
from orchestrator.graph.handover import TagMove
from orchestrator.graph.version import parse_version
from orchestrator.ports.promotion import GateCheck, ModelStage, Standing, Wanted
from orchestrator.ports.values import digest_bytes, encode_cell
from orchestrator.store import SqlJournal
from tests.store.backend import Backend, append, row


def published(value: str, name: str = "data:rows") -> f.VersionPublished:
    cell = encode_cell(value)
    return f.VersionPublished(name, digest_bytes(cell), cell, "load")


def moved(value: str, version: int, name: str = "orders") -> f.CursorMoved:
    return f.CursorMoved("churn", name, value, version)


def begun(journal: SqlJournal, run: str) -> int:
    journal.create(row(run), [], {})
    return journal.own(run, "d").epoch


def test_versions_count_up_and_what_equals_the_newest_makes_none(journal: SqlJournal) -> None:
    epoch = begun(journal, "r1")
    for seq, value in enumerate(("a", "a", "b", "a")):
        journal.append(append(epoch, seq, [published(value)]))
    assert [(v.number, v.digest) for v in journal.registry.versions("data:rows")] == [
        (3, published("a").digest), (2, published("b").digest), (1, published("a").digest)
    ]  # fmt: skip
    assert journal.registry.find(parse_version("data:rows")).number == 3


def test_a_version_of_a_transaction_that_is_refused_does_not_exist(journal: SqlJournal) -> None:
    epoch = begun(journal, "r1")
    with pytest.raises(CursorElsewhere):
        journal.append(append(epoch, 0, [published("a"), moved("1", 7)]))
    assert journal.registry.versions() == []
    assert list(journal.facts("r1")) == []
    journal.append(append(epoch, 0, [published("a")]))
    assert [version.address for version in journal.registry.versions()] == ["data:rows@v1"]


def test_runs_that_publish_at_once_take_different_numbers(backend: Backend) -> None:
    journals = [backend.open() for _ in range(2)]
    epochs = [begun(journal, f"r{i}") for i, journal in enumerate(journals)]

    def publish(i: int) -> None:
        for seq in range(10):
            journals[i].append(append(epochs[i], seq, [published(f"{i} {seq}")], run=f"r{i}"))

    threads = [threading.Thread(target=publish, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = journals[0].registry.versions()
    assert [version.number for version in found] == list(range(20, 0, -1))
    assert len({version.digest for version in found}) == 20


def test_a_cursor_moves_only_from_where_the_run_found_it(journal: SqlJournal) -> None:
    epochs = {run: begun(journal, run) for run in ("r1", "r2", "r3")}
    journal.append(append(epochs["r1"], 0, [moved("10", 0)], run="r1"))
    with pytest.raises(CursorElsewhere, match="run r1 moved the cursor 'orders'"):
        journal.append(append(epochs["r2"], 0, [moved("20", 0)], run="r2"))
    assert journal.registry.positions("churn") == {"orders": f.Position("10", 1)}
    journal.append(append(epochs["r3"], 0, [moved("30", 1), moved("x", 0, "other")], run="r3"))
    assert journal.registry.positions("churn") == {"orders": f.Position("30", 2), "other": f.Position("x", 1)}
    assert [cursor.run for cursor in journal.registry.cursors()] == ["r3", "r3"]
    assert journal.registry.positions("another") == {}


def test_tags_move_and_keep_a_version_from_removal(journal: SqlJournal) -> None:
    epoch = begun(journal, "r1")
    for seq, value in enumerate("abc"):
        journal.append(append(epoch, seq, [published(value)]))
    registry = journal.registry
    assert registry.tag(parse_version("data:rows@v1"), "prod", 1.0).tags == ("prod",)
    assert registry.tag(parse_version("data:rows@v2"), "prod", 2.0).tags == ("prod",)
    assert registry.find(parse_version("data:rows@prod")).number == 2
    assert [registry.remove("data:rows", number) for number in (1, 2, 3, 4)] == [True, False, False, False]
    assert registry.untag("data:rows", "prod") is True
    assert registry.untag("data:rows", "prod") is False
    assert registry.remove("data:rows", 2) is True
    assert [version.number for version in registry.versions()] == [3]
    journal.append(append(epoch, 3, [published("d")]))
    assert registry.find(parse_version("data:rows@latest")).number == 4


def test_what_is_not_there_is_told_with_what_is(journal: SqlJournal) -> None:
    with pytest.raises(NotFound, match="nothing has been published yet"):
        journal.registry.find(parse_version("data:rows"))
    journal.append(append(begun(journal, "r1"), 0, [published("a")]))
    with pytest.raises(NotFound, match="data:rows has v1"):
        journal.registry.find(parse_version("data:rows@v2"))
    with pytest.raises(NotFound, match="there are data:rows"):
        journal.registry.find(parse_version("data:row"))


def wanted(number: int, to: ModelStage, checks: tuple[GateCheck, ...] = (GateCheck("gate", True, "ok"),)) -> Wanted:
    return Wanted("model:m", number, to, "ann", 5.0, "better", checks, alias="champion", run="r9")


def test_promotions_move_tags_and_are_kept(journal: SqlJournal) -> None:
    epoch = begun(journal, "r1")
    for seq, value in enumerate("ab"):
        journal.append(append(epoch, seq, [published(value, "model:m")]))
    registry = journal.registry
    made = [registry.promote(wanted(1, "staging")), registry.promote(wanted(1, "production"))]
    for refused in (wanted(2, "production"), wanted(2, "staging", (GateCheck("gate", False, "no"),))):
        with pytest.raises(PromotionRefused, match="v2"):
            registry.promote(refused)
    with pytest.raises(NotFound, match="no version model:m@v3"):
        registry.promote(wanted(3, "staging"))
    assert registry.promotions("model:m") == made[::-1]
    assert registry.standing("model:m") == Standing({"production": 1, "champion": 1}, frozenset({1}))
    assert registry.find(parse_version("model:m@production")).tags == ("champion", "production")
    made += [registry.promote(wanted(2, "staging")), registry.promote(wanted(2, "production"))]
    assert registry.find(parse_version("model:m@previous")).number == 1
    assert registry.promote(wanted(1, "production", ())).replaced == 2
    assert registry.standing("model:m").tags == {"production": 1, "previous": 2, "champion": 1}


def test_promotions_at_once_come_one_after_the_other(backend: Backend) -> None:
    journals = [backend.open() for _ in range(2)]
    epoch = begun(journals[0], "r1")
    for seq in range(8):
        journals[0].append(append(epoch, seq, [published(str(seq), "model:m")]))

    def climb(i: int) -> None:
        for number in range(1 + i, 9, 2):
            journals[i].registry.promote(wanted(number, "staging"))

    threads = [threading.Thread(target=climb, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = journals[0].registry.promotions("model:m")[::-1]
    assert [entry.replaced for entry in kept] == [None, *(entry.number for entry in kept[:-1])]
    assert sorted(entry.number for entry in kept) == list(range(1, 9))
    assert journals[1].registry.standing("model:m").tags["staging"] == kept[-1].number


def tagged(*moves: TagMove) -> f.TagsMoved:
    return f.TagsMoved("hand_over", moves)


def test_tags_move_with_their_fact_from_where_they_are_said_to_be_only(journal: SqlJournal) -> None:
    epoch, registry = begun(journal, "r1"), journal.registry
    made = [published(value, name) for name in ("data:rows", "model:m") for value in "ab"]
    journal.append(append(epoch, 0, [*made, tagged(TagMove("data:rows", "live", None, 1))]))
    both = tagged(TagMove("model:m", "live", None, 2), TagMove("data:rows", "live", 1, 2))
    with pytest.raises(CursorElsewhere):
        journal.append(append(epoch, 5, [both, moved("1", 7)]))
    assert registry.standing("data:rows").tags == {"live": 1}
    journal.append(append(epoch, 5, [both, both]))
    assert (registry.standing("data:rows").tags, registry.standing("model:m").tags) == ({"live": 2}, {"live": 2})
    elsewhere, gone = TagMove("data:rows", "live", 1, None), TagMove("model:m", "live", 2, 9)
    journal.append(append(epoch, 7, [tagged(elsewhere, gone, TagMove("model:never", "live", None, 1))]))
    assert (registry.standing("data:rows").tags, registry.standing("model:m").tags) == ({"live": 2}, {"live": 2})
    journal.append(append(epoch, 8, [tagged(TagMove("data:rows", "live", 2, None))]))
    assert registry.standing("data:rows").tags == {}


def test_the_stage_of_a_model_moves_only_back(journal: SqlJournal) -> None:
    epoch, registry = begun(journal, "r1"), journal.registry
    journal.append(append(epoch, 0, [published(value, "model:m") for value in "abc"]))
    for number in (1, 2):
        for to in ("staging", "production"):
            registry.promote(dataclasses.replace(wanted(number, to), alias=""))
    journal.append(
        append(epoch, 3, [tagged(TagMove("model:m", "production", 2, 3), TagMove("model:m", "previous", 1, 3))])
    )
    assert registry.standing("model:m").tags == {"production": 2, "previous": 1}
    journal.append(append(epoch, 4, [tagged(TagMove("model:m", "production", 2, 1))]))
    assert registry.standing("model:m").tags == {"production": 1, "previous": 2}
    record = registry.promotions("model:m")[0]
    assert (record.number, record.replaced, record.by, record.run) == (1, 2, "run r1", "r1")
    journal.append(append(epoch, 5, [tagged(TagMove("model:m", "production", 1, None))]))
    assert registry.standing("model:m").stage(1) == "dev"
