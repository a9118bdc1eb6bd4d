"""Versions and webhooks as triggers; what a pipeline may declare; and a kind of one's own in one file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator import pipeline
from orchestrator.app.declared import trigger_id, trigger_kinds
from orchestrator.errors import ConfigError, InvalidPipeline
from orchestrator.ports.triggers import VersionSeen
from orchestrator.triggers import artifact, cron, webhook
from tests.test_import import in_fresh_process


@dataclass
class Published:
    """What was published: times of versions by name, and tags."""

    at: dict[str, list[float]] = field(default_factory=dict)
    tags: dict[tuple[str, str], int] = field(default_factory=dict)

    def newer(self, name: str, than: int) -> Sequence[VersionSeen]:
        return [VersionSeen(n, at) for n, at in enumerate(self.at.get(name, []), 1) if n > than]

    def named(self, name: str, tag: str) -> VersionSeen | None:
        number = len(self.at.get(name, [])) if tag == "latest" else self.tags.get((name, tag), 0)
        return VersionSeen(number, self.at[name][number - 1]) if number else None


def test_new_versions_fire_the_newest_or_each() -> None:
    world = Published({"data:daily": [1.0, 2.0]})
    newest, each = artifact("daily"), artifact("data:daily", misfire="all")
    places = [one.begin(5.0, world) for one in (newest, each)]
    assert places == [2, 2]  # what was there before does not count
    world.at["data:daily"] += [10.0, 11.0, 30.0]
    looks = [one.look(place, 20.0, world) for one, place in zip((newest, each), places, strict=True)]
    assert [[one.what for one in look.occurrences] for look in looks] == [
        ["data:daily@v4"], ["data:daily@v3", "data:daily@v4"],
    ]  # fmt: skip
    assert [look.place for look in looks] == [4, 4]
    assert [one.key for one in newest.look(4, 40.0, world).occurrences] == ["v5"]
    assert newest.look(5, 40.0, world).occurrences == []


def test_a_tag_fires_when_it_names_another_version() -> None:
    world = Published({"model:delay": [1.0, 2.0]})
    trigger = artifact("model:delay@production")
    place = trigger.begin(3.0, world)
    assert (place, list(trigger.look(place, 4.0, world).occurrences)) == (0, [])
    world.tags["model:delay", "production"] = 1
    look = trigger.look(place, 5.0, world)
    assert ([one.what for one in look.occurrences], look.place) == (["model:delay@v1"], 1)
    assert trigger.look(1, 6.0, world).occurrences == []
    world.tags["model:delay", "production"] = 2
    assert [one.key for one in trigger.look(1, 7.0, world).occurrences] == ["v2"]


@pytest.mark.parametrize("name", ["", "a b", "data:daily@v3", "model:"])
def test_what_names_no_versions_is_refused(name: str) -> None:
    with pytest.raises(InvalidPipeline):
        artifact(name)


def test_a_webhook_has_a_name_for_an_address() -> None:
    with pytest.raises(InvalidPipeline, match="letters, digits"):
        webhook("a/b")


def test_a_pipeline_declares_triggers_and_keeps_them_with_other_options() -> None:
    @pipeline(on=[cron("0 2 * * *", tz="Europe/Berlin"), artifact("daily"), webhook("go")], concurrency=1)
    def flow() -> int:
        return 1

    assert [one.kind for one in flow.options(on="local").on] == ["cron", "artifact", "webhook"]
    assert (flow.options(tags={"a": "b"}).concurrency, flow()) == (1, 1)


def test_what_is_no_trigger_is_refused_with_the_line() -> None:
    for on, said in (
        (["0 2 * * *"], "is no trigger"),
        ([cron], "is no trigger"),
        ([webhook("a"), webhook("a")], "twice"),
    ):
        with pytest.raises(InvalidPipeline, match=said) as refused:
            pipeline(lambda: 1, name="flow", on=on)  # type: ignore[arg-type]
        assert refused.value.details["file"] == __file__
    for wrong in (0, True, "one"):
        with pytest.raises(InvalidPipeline, match="concurrency="):
            pipeline(lambda: 1, name="flow", concurrency=wrong)  # type: ignore[arg-type]


def test_triggers_are_loaded_by_who_declares_some() -> None:
    heavy = ("ray", "pyarrow", "msgspec", "sqlalchemy", "orchestrator.app")
    told = in_fresh_process(
        "import sys, orchestrator\nbefore = 'cronsim' in sys.modules\nfrom orchestrator.triggers import cron\n"
        "orchestrator.pipeline(lambda: 1, name='p', on=[cron('0 2 * * *')])\n"
        f"print(before, 'cronsim' in sys.modules, [one for one in {heavy!r} if one in sys.modules])"
    )
    assert told == "False True []"


def test_an_id_is_of_what_fires_and_not_of_its_policies() -> None:
    nightly = trigger_id("churn", cron("0 2 * * *", tz="Europe/Berlin"))
    assert nightly == trigger_id("churn", cron("0  2 * * *", tz="Europe/Berlin", misfire="all", grace="1h"))
    assert nightly.startswith("churn.cron.")
    assert nightly != trigger_id("churn", cron("0 2 * * *"))


OWN = """
from dataclasses import dataclass
from orchestrator.ports.triggers import Look, Occurrence
KIND = "tide"
SCHEMA = {"type": "object", "properties": {"tide": {"type": "string"}}, "additionalProperties": False}
@dataclass(frozen=True)
class Tide:
    port: str
    kind = "tide"
    zone = ""
    @property
    def text(self): return f"high water at {self.port}"
    def document(self): return {"tide": self.port}
    def identity(self): return self.document()
    def begin(self, now, world): return 0
    def look(self, place, now, world): return Look([Occurrence(str(place), now, self.text)], place + 1)
    def upcoming(self, after, until, most): return ()
def read(written): return Tide(written["tide"])
"""


def test_a_kind_of_ones_own_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_triggers"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tide.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    tide = trigger_kinds("own_triggers", "")["tide"].read({"tide": "Husum"})
    assert tide.look(3, 5.0, Published()) == ((tide.look(3, 5.0, Published()).occurrences), 4)
    assert pipeline(lambda: 1, name="flow", on=[tide]).on == (tide,)
    (package / "other.py").write_text("KIND = 'other'\n")
    with pytest.raises(ConfigError, match="other is no kind of triggers"):
        trigger_kinds("own_triggers", "none")
    for name in [name for name in sys.modules if name.startswith("own_triggers")]:
        del sys.modules[name]


def test_shipped_kinds_are_found_by_their_place() -> None:
    assert {"cron", "artifact", "webhook"} <= trigger_kinds().keys()
