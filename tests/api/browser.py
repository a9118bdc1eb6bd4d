"""A real Chromium, driven over its DevTools protocol: opens pages, presses keys, and says what went wrong in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_START_S = 60.0
_KEYS = {"Tab": 9, "Enter": 13, "/": 191, " ": 32}


def find_browser() -> str | None:
    """A Chromium of this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One page.

    Attributes:
        complaints: What the browser has logged as errors, refused contents included.
        asked: Addresses it has asked for.
    """

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self._socket = socket
        self._session = session
        self._number = 0
        self.complaints: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """A command and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, "sessionId": self._session}
        self._socket.send(json.dumps(message))
        while True:
            got = json.loads(self._socket.recv(timeout=60))
            if got.get("id") == self._number:
                assert "error" not in got, got
                return got["result"]
            self._note(got)

    def _note(self, event: Any) -> None:
        told = event.get("params", {})
        if event.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(told["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif event.get("method") == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])

    def evaluate(self, expression: str) -> Any:
        """The value of some JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def awaited(self, expression: str) -> Any:
        """What a promise of some JavaScript comes to."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def scheme(self, name: str) -> None:
        """Prefer ``light`` or ``dark`` pages."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, url: str) -> None:
        """Open an address and wait until it is there."""
        self.call("Page.navigate", url=url)
        self.until(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def until(self, condition: str, timeout_s: float = 30.0) -> None:
        """Wait until some JavaScript is true."""
        deadline = time.monotonic() + timeout_s
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, (condition, self.evaluate("document.body.innerText"))
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press and release a key."""
        told = {"key": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {} if key == "Tab" else {"text": "\r" if key == "Enter" else key}
        self.call("Input.dispatchKeyEvent", type="keyDown", **told, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **told)

    def type(self, text: str) -> None:
        """Type where the focus is."""
        self.call("Input.insertText", text=text)

    def tab_to(self, text: str) -> None:
        """Press Tab until what has the focus has this text."""
        for _ in range(60):
            self.press("Tab")
            if self.evaluate("document.activeElement.innerText") == text:
                return
        raise AssertionError(f"the Tab key does not lead to {text!r}")


@contextmanager
def browser(program: str, folder: Path) -> Iterator[Page]:
    """A browser with one page."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [program, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run",
         "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", *root, "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        port, path = _endpoint(folder / "DevToolsActivePort", process)
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as socket:
            socket.send(json.dumps({"id": 0, "method": "Target.createTarget", "params": {"url": "about:blank"}}))
            target = json.loads(socket.recv(timeout=60))["result"]["targetId"]
            attach = {"targetId": target, "flatten": True}
            socket.send(json.dumps({"id": -1, "method": "Target.attachToTarget", "params": attach}))
            while (answer := json.loads(socket.recv(timeout=60))).get("id") != -1:
                continue
            yield Page(socket, answer["result"]["sessionId"])
    finally:
        process.terminate()
        process.wait(30)


def _endpoint(file: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    deadline = time.monotonic() + _START_S
    while not file.exists() or file.read_text().count("\n") < 1:
        assert process.poll() is None, "the browser has ended"
        assert time.monotonic() < deadline, "the browser does not start"
        time.sleep(0.05)
    port, path = file.read_text().split("\n")[:2]
    return port, path
