"""Alerts reach people: real HTTP, SMTP and Apprise receivers, also when they or the sender were away for a while."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestrator import RunFailed, pipeline, stage
from orchestrator.app.alerting import AlertsReader, channel_kinds, kept_alerts, rules_of
from orchestrator.app.reading import Keeper, Readers
from orchestrator.backends.loopback import free_ports
from orchestrator.errors import ConfigError
from orchestrator.testing.inprocess import InProcess
from stages.monitoring import DriftCheck, check_drift


@stage
def divide(x: int) -> int:
    return 1 // x


@pipeline
def dividing(x: int = 0) -> int:
    return divide(x)


@stage
def rows(moved: bool) -> pa.Table:
    return pa.table({"x": [value % 7 + (5 if moved else 0) for value in range(700)]})


@pipeline
def comparing(moved: bool) -> DriftCheck:
    return check_drift(rows(moved), rows(False), name="today")


class Receiver:
    """A real HTTP server that keeps what it is sent; answers 503 as long as it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.away = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not receiver.away:
                    receiver.got.append((dict(self.headers.items()), json.loads(body)))
                self.send_response(503 if receiver.away else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    @property
    def titles(self) -> list[str]:
        return [body["title"] for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


@pytest.fixture
def process(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


def write_rules(process: InProcess, text: str) -> None:
    (process.installation.settings.home / "alerts.yaml").write_text(text)


def keeper(process: InProcess) -> Keeper[Any]:
    """As a new ``orc up`` makes it."""
    return Keeper(process.installation, AlertsReader(process.installation, rules_of(process.installation)))


def fail(process: InProcess) -> str:
    with pytest.raises(RunFailed):
        process.run(dividing)
    return process.installation.journal.runs(limit=1)[0].id


def test_a_webhook_hears_of_a_failure_and_of_its_end(process: InProcess, receiver: Receiver) -> None:
    write_rules(process, f"""
channels: {{team: {{webhook: {{url: '{receiver.url}', headers: {{X-Team: a}}}}}}}}
rules: [{{on: fail, to: [team]}}]
group: 0
url: http://127.0.0.1:8710
""")  # fmt: skip
    reading = keeper(process)
    run = fail(process)
    reading.round()
    (headers, body), = receiver.got  # fmt: skip
    assert (headers["X-Team"], headers["Idempotency-Key"]) == ("a", body["id"])
    assert body["title"] == "[orc] dividing failed"
    assert "ZeroDivisionError" in body["text"]
    assert f"http://127.0.0.1:8710/runs/{run}" in body["text"]
    assert [(one["kind"], one["state"], one["run"]) for one in body["alerts"]] == [("fail", "raised", run)]
    fail(process)
    reading.round()
    assert len(receiver.got) == 1  # counted, not told again
    process.run(dividing, x=1)
    reading.round()
    assert receiver.titles[1:] == ["[orc] over: dividing failed"]
    alerts, _ = kept_alerts(process.installation)
    assert [(one.kind, one.count, one.resolved_at is not None) for one in alerts] == [("fail", 2, True)]


def test_a_webhook_hears_of_drift_and_of_its_end(process: InProcess, receiver: Receiver) -> None:
    write_rules(process, f"""
channels: {{team: {{webhook: {{url: '{receiver.url}'}}}}}}
rules: [{{on: drift, to: [team]}}, {{on: quality, to: [team]}}]
group: 0
""")  # fmt: skip
    reading = keeper(process)
    process.run(comparing, moved=True)
    reading.round()
    (_, body), = receiver.got  # fmt: skip
    assert body["title"] == "[orc] comparing has drifted"
    assert "check_drift: no drift: today: 1 of 1 columns drifted: x (PSI" in body["text"]
    process.run(comparing, moved=True)
    reading.round()
    assert len(receiver.got) == 1  # counted, not told again
    process.run(comparing, moved=False)
    reading.round()
    assert receiver.titles[1:] == ["[orc] over: comparing has drifted"]


def test_what_comes_together_goes_out_together(process: InProcess, receiver: Receiver) -> None:
    write_rules(process, f"""
channels: {{team: {{webhook: {{url: '{receiver.url}'}}}}}}
rules:
  - {{name: first, on: fail, to: [team]}}
  - {{name: second, on: fail, to: [team], pipelines: ['div*']}}
group: 1s
""")  # fmt: skip
    with_clock = keeper(process)
    fail(process)
    with_clock.round()
    assert receiver.got == []
    reader = with_clock.reader
    reader.act(process.installation.clock.now() + 2)
    (_, body), = receiver.got  # fmt: skip
    assert len(body["alerts"]) == 2
    assert body["title"] == "[orc] dividing failed, and 1 more"


def test_a_receiver_that_was_away_is_told_later_by_whoever_reads_then(process: InProcess, receiver: Receiver) -> None:
    write_rules(process, f"""
channels: {{team: {{webhook: {{url: '{receiver.url}'}}}}}}
rules: [{{on: fail, to: [team]}}]
group: 0
""")  # fmt: skip
    receiver.away = True
    reading = keeper(process)
    fail(process)
    reading.round()
    _, deliveries = kept_alerts(process.installation)
    assert [(one.state, one.tries) for one in deliveries] == [("waiting", 1)]
    assert "503" in deliveries[0].problem
    receiver.away = False
    again = keeper(process)  # the first one was killed
    again.round()
    assert receiver.got == []  # it is not due yet
    again.reader.act(process.installation.clock.now() + 60)
    again.reader.act(process.installation.clock.now() + 120)
    assert receiver.titles == ["[orc] dividing failed"]


def test_killed_between_sending_and_noting_it_sends_the_same_again(process: InProcess, receiver: Receiver) -> None:
    write_rules(process, f"""
channels: {{team: {{webhook: {{url: '{receiver.url}'}}}}}}
rules: [{{on: fail, to: [team]}}]
group: 0
""")  # fmt: skip
    reading, noted = keeper(process), 0
    save = reading.save

    def save_once() -> None:
        nonlocal noted
        noted += 1
        if noted > 1:
            raise KeyboardInterrupt
        save()

    reading.save = save_once  # type: ignore[method-assign]
    fail(process)
    with pytest.raises(KeyboardInterrupt):
        reading.round()
    assert len(receiver.got) == 1
    keeper(process).round()
    first, second = (body["id"] for _, body in receiver.got)
    assert first == second
    alerts, _ = kept_alerts(process.installation)
    assert [one.count for one in alerts] == [1]


class Mails:
    """What a real SMTP server has taken."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        self.got.append(envelope)
        return "250 OK"


@contextmanager
def smtp(handler: Mails, port: int) -> Iterator[None]:
    from aiosmtpd.controller import Controller

    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield
    finally:
        controller.stop()


def test_mail_and_apprise_reach_real_servers(process: InProcess, receiver: Receiver) -> None:
    mails, (port,) = Mails(), free_ports(1)
    write_rules(process, f"""
channels:
  ops: {{email: {{server: 127.0.0.1, port: {port}, encryption: none, from: orc@example.org, to: [ann@example.org]}}}}
  chat: {{apprise: 'json://127.0.0.1:{receiver.port}/chat'}}
rules: [{{on: fail, to: [ops, chat]}}]
group: 0
""")  # fmt: skip
    with smtp(mails, port):
        reading = keeper(process)
        run = fail(process)
        reading.round()
    (mail,) = mails.got
    assert mail.rcpt_tos == ["ann@example.org"]
    text = mail.content.decode()
    assert "Subject: [orc] dividing failed" in text
    assert f"run {run}" in text
    (_, chat), = receiver.got  # fmt: skip
    assert (chat["title"], chat["type"]) == ("[orc] dividing failed", "failure")


def test_readers_go_on_by_themselves(process: InProcess, receiver: Receiver) -> None:
    write_rules(process, f"""
channels: {{team: {{webhook: {{url: '{receiver.url}'}}}}}}
rules: [{{on: fail, to: [team]}}]
group: 0
""")  # fmt: skip
    here = process.installation
    keeper(process)  # as if it had been up before
    fail(process)
    heard = threading.Event()
    readers = Readers(here, [AlertsReader(here, rules_of(here))], poll_s=0.05)
    other = Readers(here, [AlertsReader(here, rules_of(here))], poll_s=0.05)  # of another process: it waits
    try:
        for _ in range(600):
            if receiver.got or heard.wait(0.1):
                break
    finally:
        readers.close()
        other.close()
    assert receiver.titles == ["[orc] dividing failed"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("channels: {a: {webhok: {url: 'http://x'}}}\nrules: []", "alerts.yaml:1: channels.a: there is no kind"),
        ("channels: {a: {webhook: {}}}\nrules: []", "'url'"),
        ("channels: {}\nrules: [{on: fail, to: [b]}]", "there is no channel 'b'"),
        ("ONE\nrules: [{on: budget, to: [a]}]", "a budget needs a limit"),
        ("ONE\nrules: [{on: fail, to: [a], after: 1h}]", "after is for rules on stuck"),
        ("ONE\nrules: [{on: stuck, to: [a], after: soon}]", "not a duration"),
        ("ONE\nrules: [{on: fail, to: [a]}, {on: fail, to: [a]}]", "another rule"),
    ],
)  # fmt: skip
def test_broken_rules_are_refused_by_line(process: InProcess, text: str, said: str) -> None:
    write_rules(process, text.replace("ONE", "channels: {a: {webhook: {url: 'http://x'}}}"))
    with pytest.raises(ConfigError) as refused:
        rules_of(process.installation)
    assert said in refused.value.message
    assert "alerts.yaml:" in refused.value.message


def test_a_new_channel_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "more_channels"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "siren.py").write_text(
        "KIND, SCHEMA, sounded = 'siren', {'type': 'object'}, []\n"
        "class Siren:\n"
        "    def send(self, message):\n"
        "        sounded.append(message.title)\n"
        "def open_channel(options):\n"
        "    return Siren()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(channel_kinds("more_channels")) == ["siren"]
    (package / "broken.py").write_text("KIND = 'broken'\n")
    channel_kinds.cache_clear()
    with pytest.raises(ConfigError, match="open_channel"):
        channel_kinds("more_channels")
    channel_kinds.cache_clear()
