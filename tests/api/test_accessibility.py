"""Every page against the rules of WCAG AA in a real browser, in light and dark."""

from __future__ import annotations

import json
import re

import pytest

from tests.api.axe import COLOURS, RULES, load, source, violations, violations_in_both
from tests.api.browser import Page
from tests.api.conftest import Served
from tests.api.test_pages import STYLE, paths


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    return source(tmp_path_factory.mktemp("axe"))


@pytest.mark.timeout(600)
def test_no_page_breaks_a_rule(page: Page, home: Served, script: str) -> None:
    broken = []
    for path in [*paths(home), "/login", "/runs/nothing"]:
        found = violations_in_both(page, script, f"{home.client.url}{path.removeprefix('/')}")
        broken += [f"{path}: {one}" for one in found]
    assert not broken, "\n".join(broken)


def test_in_the_dark_only_colours_differ() -> None:
    blocks = re.findall(
        r"@media \(prefers-color-scheme: dark\) \{(.*?)^\}", STYLE.read_text(), re.DOTALL | re.MULTILINE
    )
    set_there = {name for block in blocks for name in re.findall(r"([\w-]+): [^;]*;", block)}
    assert {name for name in set_there if not name.startswith("--")} <= {"fill", "stroke", "color", "background"}


def test_the_rules_find_what_is_wrong(page: Page, home: Served, script: str) -> None:
    page.scheme("light")
    page.open(home.client.url)
    load(page, script)
    text = '<img src="/static/icon.svg"><input><p style>faint</p>'
    page.evaluate(f"document.querySelector('main').innerHTML = {json.dumps(text)}")
    page.evaluate("document.styleSheets[0].insertRule('@media (prefers-color-scheme: dark) {main p {color: #222}}')")
    assert {one.split(" ")[0] for one in violations(page, RULES)} >= {"image-alt", "label"}
    assert violations(page, COLOURS) == []
    page.scheme("dark")
    assert {one.split(" ")[0] for one in violations(page, COLOURS)} == {"color-contrast"}
