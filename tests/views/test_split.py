"""The split of requests as a bar."""

from __future__ import annotations

from xml.etree import ElementTree

from orchestrator.views.panel import CALM
from orchestrator.views.split import split_svg, split_text

SVG = "{http://www.w3.org/2000/svg}"


def test_the_new_version_comes_first_and_in_colour() -> None:
    drawn = ElementTree.fromstring(split_svg({"v<1>": 75.0, "v2": 25.0}, "v2"))
    first, second = drawn.iter(f"{SVG}rect")
    assert (first.get("fill") == CALM, second.get("fill") == CALM) == (True, False)
    assert float(str(first.get("width"))) * 3 == float(str(second.get("width"))) - 2
    assert next(iter(drawn.iter(f"{SVG}title"))).text == "v<1> 75 %, v2 25 %"


def test_a_split_that_is_not_known_is_said_so() -> None:
    assert split_text({}) == "not known"
    assert ElementTree.fromstring(split_svg({})).findall(f"{SVG}rect") == []
