"""The quality report as a page: what failed comes first, and leads to the step."""

from __future__ import annotations

from html.parser import HTMLParser

from orchestrator.views.quality import QualitySection, quality_html

SECTIONS = [
    QualitySection("load", [], [("3 rows", ("column", "nulls"), [("a<b", "1 (33.3%)")])]),
    QualitySection("clean", [("passed", "row_count", ""), ("failed", "not_null(x)", "row 3: {'x': None}")], []),
]


class Page(HTMLParser):
    """Texts, the targets of links, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if tag == "a" else []
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_every_step_is_linked_and_what_failed_comes_first() -> None:
    page = Page(quality_html("Quality of a <run>", SECTIONS))
    assert page.open == []
    assert page.links == [f"#{name}" for name in page.ids] == ["#step-0", "#step-1"]
    assert "Checks: 1 failed, 1 passed. Tables described: 1." in page.texts
    assert page.texts.index(" not_null(x)") < page.texts.index(" row_count")
    assert {"Quality of a <run>", "a<b", "row 3: {'x': None}"} <= set(page.texts)


def test_a_run_without_checks_and_tables_says_so() -> None:
    assert "No step has checks" in quality_html("Quality of x", [])
