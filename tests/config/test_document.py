"""YAML documents with places."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.document import parse_document, parse_value, read_document
from orchestrator.errors import ConfigError, NotFound

TEXT = """\
a: 1
b:
  c: [x, 2]   # a comment
  d: {e: true}
"""


def test_every_value_has_its_line() -> None:
    document = parse_document(TEXT, "f.yaml")
    assert document.data == {"a": 1, "b": {"c": ["x", 2], "d": {"e": True}}}
    lines = {path: place.line for path, place in document.places.items()}
    assert lines == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", 0): 3,
        ("b", "c", 1): 3,
        ("b", "d"): 4,
        ("b", "d", "e"): 4,
    }
    assert document.at(("b", "c", 1)) == 2


def test_an_error_names_the_nearest_known_line() -> None:
    error = parse_document(TEXT, "f.yaml").error(("b", "c", 1, "deeper"), "no")
    assert str(error) == "f.yaml:3: no [ORC-140]"
    assert (error.details["file"], error.details["line"]) == ("f.yaml", 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("off", "off"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-0x10", "-0x10"),
        ("0x10", 16),
        ("0o17", 15),
        ("017", 17),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("1_000", "1_000"),
        ("2013-01-01", "2013-01-01"),
        ("12:30", "12:30"),
        ("'12'", "12"),
        ("#fff", "#fff"),
        ("a: b", "a: b"),
        ("[1, a, {b: 2.5}]", [1, "a", {"b": 2.5}]),
        ("s3://bucket/key?x=1#y", "s3://bucket/key?x=1#y"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_not_a_number_is_read() -> None:
    assert math.isnan(parse_value(".nan"))


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("a: 1\na: 2", 2, "twice"),
        ("a:\n  1: 2", 2, "a key is text"),
        ("a: 1\nb: [", 2, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        ("a:\n\tb: 1", 2, "not YAML"),
        ("- 1", 1, "is a mapping"),
        ("", 1, "is a mapping"),
        ("a: 1\nb: &x [*x]", 2, "contains itself"),
        ("a: !!python/object/apply:os.system [ls]", 1, "no meaning"),
        ("a: !secret x", 1, "no meaning"),
        ("a: !!int abc", 1, "no number"),
        ("a: " + "9" * 5000, 1, "no number"),
        ("a: 1\n---\nb: 2", 2, "not YAML"),
    ],
)
def test_broken_yaml_is_refused_with_its_line(text: str, line: int, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        parse_document(text, "f.yaml")
    assert refused.value.details["line"] == line


def test_a_document_that_unfolds_without_end_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    with pytest.raises(ConfigError, match="unfolds"):
        parse_document("\n".join(levels), "f.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_document(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_document(tmp_path / "bytes.yaml")


def test_a_document_over_another_keeps_both_places() -> None:
    base = parse_document("a: {x: 1, y: [1, 2, 3]}\nb: 2", "base.yaml")
    top = parse_document("\n\na:\n  y: [4]\n  z: 5", "top.yaml")
    merged = top.over(base)
    assert merged.data == {"a": {"x": 1, "y": [4], "z": 5}, "b": 2}
    assert str(merged.place(("a", "x"))) == "base.yaml:1"
    assert str(merged.place(("a", "y", 0))) == "top.yaml:4"
    assert str(merged.place(("b",))) == "base.yaml:2"
    assert ("a", "y", 2) not in merged.places
    assert base.data == {"a": {"x": 1, "y": [1, 2, 3]}, "b": 2}


_text = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12)
_finite = st.floats(allow_nan=False, allow_infinity=False)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _finite | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_text, _plain, max_size=4))
def test_json_is_yaml(data: dict[str, Any]) -> None:
    document = parse_document(json.dumps(data, ensure_ascii=False), "f.yaml")
    assert document.data == data
    assert all(place.line == 1 for place in document.places.values())


@given(st.text(max_size=40))
def test_any_text_is_a_document_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse_document(text, "f.yaml").data, dict)


@given(st.text(max_size=20))
def test_any_argument_is_a_value_or_a_config_error(text: str) -> None:
    try:
        parse_value(text)
    except ConfigError:
        assert text[:1] in "[{\"'"
