"""The main journeys in a real browser: with the keyboard alone, and live."""

from __future__ import annotations

from orchestrator.app.run import Run
from tests.api.browser import Page
from tests.api.conftest import Served


def test_from_the_list_to_an_error_with_the_keyboard_alone(page: Page, home: Served) -> None:
    page.open(home.client.url)
    page.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to content"
    page.press("/")
    page.type("failing")
    page.press("Enter")
    page.until("location.search.includes('q=failing') && document.readyState === 'complete'")
    assert page.evaluate("document.querySelectorAll('tbody tr').length") == 1
    page.tab_to(home.runs["failing"])
    page.press("Enter")
    page.until(f"location.pathname === '/runs/{home.runs['failing']}' && document.readyState === 'complete'")
    page.tab_to("Table")
    page.press("Enter")
    page.until("location.search === '?view=table' && document.readyState === 'complete'")
    page.tab_to("broken")
    page.press("Enter")
    page.until("document.querySelector('.frames li') !== null")
    assert "in _inner" in page.evaluate("document.querySelector('.frames li').innerText")
    assert page.complaints == []
    assert all(url.startswith(home.client.url) for url in page.asked)  # also usable without a network


def test_a_page_follows_its_run_without_reload(page: Page, waiting: Served) -> None:
    run = waiting.runs["asking"]
    page.open(f"{waiting.client.url}runs/{run}")
    page.evaluate("window.untouched = true")
    page.until("document.querySelector('h1').innerText.includes('waiting')")
    page.until("document.querySelector('.live').innerText === 'live'")
    page.evaluate("document.querySelector('button[value=approve]').focus()")
    Run(waiting.process.installation, run).cancel("enough")
    waiting.process.resume(run)
    page.until("document.querySelector('h1').innerText.includes('cancelled')")
    page.until("document.querySelector('.live').hidden")
    assert page.evaluate("document.querySelector('form') === null")  # there is nothing to be done about it any more
    assert page.evaluate("window.untouched") is True
    assert page.complaints == []


def test_a_button_does_what_it_says(page: Page, waiting: Served) -> None:
    run, journal = waiting.runs["asking"], waiting.process.installation.journal
    page.open(f"{waiting.client.url}runs/{run}")
    page.evaluate("document.querySelector('button[value=reject]').click()")
    page.until("performance.getEntriesByType('navigation')[0].redirectCount === 1")  # a form was sent
    assert [row.body["value"] for row in journal.inbox(run)] == [False]
    waiting.process.resume(run)
    page.until("document.querySelector('h1').innerText.includes('succeeded')")
    skipped = [node["address"] for node in waiting.client.api(f"/runs/{run}/nodes?state=skipped")["items"]]
    assert [address.rpartition("/")[2] for address in skipped] == ["go", "ship"]


def test_from_a_run_to_what_differs_from_another_with_the_keyboard_alone(page: Page, home: Served) -> None:
    first, second = home.runs["shapes"], home.runs["failing"]
    page.open(f"{home.client.url}runs/{first}")
    page.tab_to("Compare with another run")
    page.press("Enter")
    page.until("location.pathname === '/compare' && document.readyState === 'complete'")
    page.press("/")
    page.evaluate("document.activeElement.select()")
    page.type("failing")
    page.press("Enter")
    page.until(f"document.querySelector('input[value=\"{second}\"][type=checkbox]') !== null")
    for _ in range(60):
        page.press("Tab")
        if page.evaluate("document.activeElement.type === 'checkbox'"):
            break
    page.press(" ")
    page.tab_to("Compare")
    page.press("Enter")
    page.until("document.querySelector('.verdict') !== null")
    assert "What differs first" in page.evaluate("document.querySelector('.verdict').innerText")
    page.tab_to("Lineage")
    page.press("Enter")
    page.until("location.pathname === '/lineage' && document.readyState === 'complete'")
    page.tab_to(second)
    page.press("Enter")
    page.until("document.querySelector('[data-vertex]') !== null")
    assert page.complaints == []
