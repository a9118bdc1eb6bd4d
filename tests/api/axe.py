"""axe-core, the rules of accessibility as a script: fetched once a session through npm, and only as it is known."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.api.browser import Page

VERSION = "4.14.1"
INTEGRITY = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
"""SHA-512 of the archive, as the registry writes it."""

RULES: dict[str, Any] = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
COLOURS: dict[str, Any] = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""All that can differ between a light and a dark page."""

_FETCH_S = 120.0


def source(folder: Path) -> str:
    """The script; where it cannot be had the tests are skipped, but fail in CI."""
    program = shutil.which("npm")
    if program is None:
        missing("npm is not on this machine")
    done = subprocess.run(
        [program or "npm", "pack", "--silent", "--ignore-scripts", f"axe-core@{VERSION}"],
        cwd=folder, capture_output=True, text=True, timeout=_FETCH_S, check=False,
    )  # fmt: skip
    if done.returncode:
        missing(f"npm pack failed: {done.stderr[-500:]}")
    archive = (folder / f"axe-core-{VERSION}.tgz").read_bytes()
    assert base64.b64encode(hashlib.sha512(archive).digest()).decode() == INTEGRITY, "this is another axe-core"
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        script = packed.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def missing(why: str) -> None:
    """Skip here, fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def load(page: Page, script: str) -> None:
    """Have the rules in a page that is open."""
    page.evaluate(f"{script}; 0")


def violations_in_both(page: Page, script: str, url: str) -> list[str]:
    """What the page at an address does that it should not, also in the dark, where only colours differ."""
    page.scheme("light")
    page.open(url)
    load(page, script)
    broken = violations(page, RULES)
    page.scheme("dark")
    return broken + [f"in the dark: {one}" for one in violations(page, COLOURS)]


def violations(page: Page, rules: dict[str, Any]) -> list[str]:
    """What a page does that it should not by some rules, a line for each place."""
    asked = json.dumps({"runOnly": rules, "resultTypes": ["violations"]})
    found: list[dict[str, Any]] = page.awaited(f"axe.run(document, {asked}).then((found) => found.violations)")
    return [
        f"{one['id']} ({one['impact']}): {' '.join(node['target'])}: {node['failureSummary']}"
        for one in found
        for node in one["nodes"]
    ]
