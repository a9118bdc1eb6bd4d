"""Every page against the rules of WCAG AA in a real browser, in light and dark."""

from __future__ import annotations

import pytest

from tests.api.axe import source, violations
from tests.api.browser import Page
from tests.api.conftest import Served
from tests.api.test_pages import paths


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    return source(tmp_path_factory.mktemp("axe"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule(page: Page, home: Served, script: str, scheme: str) -> None:
    page.scheme(scheme)
    broken = []
    for path in [*paths(home), "/login", "/runs/nothing"]:
        page.open(f"{home.client.url}{path.removeprefix('/')}")
        broken += [f"{path}: {one}" for one in violations(page, script)]
    assert not broken, "\n".join(broken)


def test_the_rules_find_what_is_wrong(page: Page, home: Served, script: str) -> None:
    page.open(home.client.url)
    page.evaluate("document.querySelector('main').innerHTML = '<img src=\"/static/icon.svg\"><input><p style></p>'")
    assert {one.split(" ")[0] for one in violations(page, script)} >= {"image-alt", "label"}
