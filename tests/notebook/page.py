"""What is wrong with a piece of HTML: tags that do not match, what it would fetch, scripts, links that lead nowhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_EMPTY = frozenset({"meta", "br", "img", "link", "input", "hr"})


class Page(HTMLParser):
    """A page that was read.

    Attributes:
        faults: What is wrong with it.
        text: What it says, without its style.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self._ids: list[str] = []
        self._links: list[str] = []
        self.feed(html)
        self.faults += [f"{tag} is never closed" for tag in self._open]
        self.faults += [f"#{link} leads nowhere" for link in self._links if link not in self._ids]
        self.faults += [f"#{name} twice" for name in sorted(set(self._ids)) if self._ids.count(name) > 1]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attributes}
        if tag not in _EMPTY:
            self._open.append(tag)
        if tag in ("script", "iframe", "object", "link", "embed"):
            self.faults.append(f"<{tag}>")
        self.faults += [f"{name}=" for name in told if name.startswith("on")]
        for name in ("src", "href", "srcset", "action"):
            if name in told and not told[name].startswith(("#", "data:image/")):
                self.faults.append(f"it fetches {told[name]}")
        if told.get("href", "").startswith("#"):
            self._links.append(told["href"][1:])
        if "id" in told:
            self._ids.append(told["id"])
        if tag == "img" and not told.get("alt"):
            self.faults.append("a picture without words")
        if tag == "th" and "scope" not in told:
            self.faults.append("a title of a table without its scope")
        if tag == "svg" and told.get("role") != "img" and "aria-hidden" not in told:
            self.faults.append("a drawing that is neither a picture nor hidden from readers")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            if re.search(r"url\(|@import", data):
                self.faults.append("a style that fetches")
        else:
            self.words.append(data)
