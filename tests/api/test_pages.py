"""Pages: complete without scripts, small, safe to show what authors wrote, and readable in both schemes."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest

import orchestrator.api
from tests.api.conftest import Client, Served

STYLE = Path(orchestrator.api.__file__).parent / "static" / "style.css"


class Outline(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.inputs = 0
        self.labels = 0
        self.bare: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids += [found["id"]] if "id" in found else []
        if tag == "a":
            self.links.append(found["href"])
        if tag in ("script", "img"):
            self.fetched.append(found["src"])
        if tag == "link":
            self.fetched.append(found["href"])
        if tag in ("input", "select") and found.get("type") != "hidden":
            self.inputs += 1
        self.labels += tag == "label"
        self.bare += [name for name in found if name == "style" or name.startswith("on")]
        if tag == "img":
            assert "alt" in found


def paths(home: Served) -> list[str]:
    shapes, wide, failing = (f"/runs/{home.runs[name]}" for name in ("shapes", "wide", "failing"))
    views = [f"{run}?view={view}" for run in (shapes, wide, failing) for view in ("graph", "timeline", "table")]
    steps = [f"{shapes}/steps/{name}" for name in ("load", "table", "parts", "picture", "pickled", "flaky")]
    compared = f"/compare?run={home.runs['shapes']}&run={home.runs['failing']}"
    lineage = ["/lineage", "/lineage?of=model:toy", f"/lineage?of={home.runs['wide']}&way=up&code=no"]
    return [
        "/cluster", "/compare", f"/compare?run={home.runs['wide']}&q=o", compared, f"{compared}&all=1", *lineage,
        "/", "/?q=ops", "/?state=failed&pipeline=failing", "/models", f"/runs/{home.runs['asking']}", *views, *steps,
        f"{shapes}/steps/parts?part=right", f"{wide}/steps/square", f"{wide}/steps/square?state=dropped",
        f"{wide}/steps/square%5B4999%5D", f"{failing}/steps/broken", f"{shapes}?view=table&state=succeeded",
        "/triggers",
    ]  # fmt: skip


def test_pages_are_small_and_fetch_nothing_from_elsewhere(home: Served) -> None:
    for path in paths(home):
        text = home.client.page(path)
        outline = Outline(text)
        assert len(text) < 100_000, path
        assert outline.bare == [], path  # the content security policy would refuse them
        assert all(one.startswith(("/static/", "/api/v1/runs/")) for one in outline.fetched), path
        assert len(outline.ids) == len(set(outline.ids)), path
        assert outline.labels == outline.inputs, path
    files = sum(len(home.client(f"/static/{name}").body) for name in ("style.css", "live.js", "icon.svg"))
    assert len(home.client.page("/")) + files < 100_000


def test_every_link_leads_somewhere(home: Served) -> None:
    seen: set[str] = set()
    for path in paths(home):
        for link in Outline(home.client.page(path)).links:
            seen.add(urljoin(path, link).partition("#")[0])
    for link in sorted(seen):
        assert home.client(link, Accept="text/html").status == 200, link
    assert any("square%5B" in link for link in seen)


def test_what_authors_wrote_is_text(home: Served) -> None:
    run = home.runs["shapes"]
    assert "&lt;b&gt;more&lt;/b&gt;" in home.client.page(f"/runs/{run}/steps/load")
    assert "&lt;name&gt;" in home.client.page(f"/runs/{run}/steps/table")
    assert "&lt;script&gt;alert(1)" in home.client.page(f"/runs/{run}/steps/parts?part=right")
    assert "no &lt;end&gt;" in home.client.page(f"/runs/{home.runs['failing']}/steps/broken")
    assert "&lt;i&gt;" in home.client.page("/?q=%3Ci%3E")


def test_the_innermost_frame_of_the_user_comes_first(home: Served) -> None:
    page = home.client.page(f"/runs/{home.runs['failing']}/steps/broken")
    assert page.index("in _inner") < page.index("in broken")


def test_lines_of_a_log_are_found_and_have_addresses(home: Served) -> None:
    page = home.client.page(f"/runs/{home.runs['shapes']}/steps/load?q=MORE")
    assert ('id="L2"' in page, 'id="L1"' in page, "1 of 2 lines" in page) == (True, False, True)


def test_states_are_told_by_word_and_mark(home: Served) -> None:
    page = home.client.page(f"/runs/{home.runs['failing']}?view=table")
    for state in ("succeeded", "failed", "cancelled"):
        assert re.search(rf'class="state s-{state}"><svg class="icon" aria-hidden="true".*?</svg>{state}<', page), state
    assert "driver: none" in home.client.page("/")


@pytest.mark.parametrize("odd", ["..", "%00", "%ff", "😀", "'\"<>", "x" * 400, "%2F..%2F..%2Fetc"])
def test_odd_addresses_are_answered_and_never_fail(home: Served, odd: str) -> None:
    run, part = home.runs["shapes"], quote(odd) if "%" not in odd else odd
    templates = [path for path in home.client.api("/openapi.json")["paths"] if not path.endswith("events")]
    asked = [path.replace("{run}", run).replace("{address}", part) for path in templates]
    asked += [path.replace("{run}", part).replace("{address}", "load") for path in templates]
    asked += [f"/api/v1/runs?{name}={part}" for name in ("q", "pipeline", "state", "cursor", "limit")]
    asked += [f"/?{name}={part}" for name in ("q", "pipeline", "state", "cursor")]
    asked += [f"/runs/{part}", f"/runs/{run}/steps/{part}", f"/runs/{run}?view={part}&state={part}", f"/static/{part}"]
    asked += [f"/runs/{run}/steps/parts?part={part}&q={part}", f"/runs/{home.runs['wide']}/steps/square?cursor={part}"]
    for path in asked:
        got = home.client(path, Accept="text/html")
        assert got.status < 500, (path, got.text)


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_texts_have_enough_contrast_in_both_schemes() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    for scheme in (colours(light), colours(dark)):
        grounds = ("ground", "panel", "card")
        texts = [name for name in scheme if name not in (*grounds, "line", "on-accent")]
        for text, ground in itertools.product(texts, grounds):
            if (text, ground) != ("accent", "card"):
                assert contrast(scheme[text], scheme[ground]) >= 4.5, (text, ground)
        assert contrast(scheme["on-accent"], scheme["accent"]) >= 4.5


def test_a_run_says_which_step_failed_it_or_what_was_dropped(home: Served) -> None:
    wide, failing = (home.runs[name] for name in ("wide", "failing"))
    page = home.client.page(f"/runs/{wide}")
    assert f'<a href="/runs/{wide}/steps/square?state=dropped#items">4 dropped</a> of 20,000 items' in page
    assert ("4999 is not liked" in page, page.count('<ol class="frames"')) == (True, 1)
    page = home.client.page(f"/runs/{failing}")
    assert page.index(f'<a href="/runs/{failing}/steps/broken">') < page.index("ValueError") < page.index("in _inner")


def test_a_wide_map_is_told_in_few_words_and_its_timeline_shows_its_items(home: Served) -> None:
    wide = home.runs["wide"]
    page = home.client.page(f"/runs/{wide}/steps/square")
    assert (page.count("It waited") <= 3, "4 dropped" in page, "all 20,000" in page) == (True, True, True)
    assert 'class="ended"' in home.client.page(f"/runs/{wide}?view=timeline")
    assert "dropped" in home.client.page(f"/runs/{wide}/steps/square%5B4999%5D")


def test_what_was_reported_is_a_curve_and_a_table(home: Served) -> None:
    page = home.client.page(f"/runs/{home.runs['shapes']}/steps/flaky")
    assert ("2 reports" in page, "Reported by flaky" in page) == (True, True)


def test_pages_of_problems_say_what_is_the_matter_in_words(home: Served) -> None:
    got = home.client("/runs/nothing", Accept="text/html")
    assert ("<h1>Not found</h1>" in got.text, "<code>orc ls</code> lists" in got.text) == (True, True)
    got = home.client("/runs/%60%3Cb%3E%60x", Accept="text/html")
    assert (got.status, "<b>" in got.text, "&lt;b&gt;" in got.text) == (404, False, True)
    assert "Times are in " in got.text


def test_an_empty_installation_says_what_to_do(client_of_nothing: Client) -> None:
    front = client_of_nothing.page("/")
    assert ("orc run PIPELINE" in front, "orc demo" in front, 'type="search"' in front) == (True, True, False)
    for path in ("/compare", "/lineage", "/cluster"):
        assert "orc run PIPELINE" in client_of_nothing.page(path), path
    assert "orc release" in client_of_nothing.page("/releases")
    assert "publish=" in client_of_nothing.page("/models")
    got = client_of_nothing("/runs/nothing", Accept="text/html")
    assert (got.status, "ORC-150" in got.text) == (404, True)
