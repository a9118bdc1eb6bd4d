"""``orc alerts``: what was raised, what goes on, and what became of the messages about it."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.app.alerting import kept_alerts, message_of, rules_of, send
from orchestrator.app.installation import Installation
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import iso, local_time, note, table, write, write_json
from orchestrator.cli.signal_documents import AlertItem
from orchestrator.config.alert_rules import FILE
from orchestrator.errors import BackendError, ConfigError

Open = Annotated[bool, typer.Option("--open", help="only what goes on")]
Test = Annotated[str, typer.Option("--test", metavar="CHANNEL", help="send a test message through a channel")]


def alerts(only_open: Open = False, test: Test = "", json: Json = False) -> int:
    """List alerts, newest first; orc up raises them by the rules in ORC_HOME/alerts.yaml."""
    here = Installation()
    rules = rules_of(here)
    if test:
        try:
            send(rules, test, message_of(f"test-{here.clock.now():.0f}", []))
        except ConfigError:
            raise
        except Exception as error:
            raise BackendError(f"channel {test}: {type(error).__name__}: {error}") from error
        note(f"channel {test} has taken a test message")
        return ExitCode.OK
    if not rules.rules:
        note(f"no rules: write {here.settings.home / FILE}")
    found, deliveries = kept_alerts(here)
    waiting = [one for one in deliveries if one.state == "waiting" and one.tries]
    items = [
        AlertItem(
            one.id, one.kind, one.pipeline, one.run, one.text, one.rule, one.count, iso(one.at) or "",
            iso(one.last_at) or "", iso(one.resolved_at),
            sum(notice.run == one.run and notice.kind == one.kind for sent in waiting for notice in sent.notices),
        )
        for one in found
        if not only_open or one.resolved_at is None
    ]  # fmt: skip
    if json:
        write_json(items)
        return ExitCode.OK
    rows = [
        (one.kind, one.pipeline, str(one.count), local_time(alert.last_at), "over" if one.resolved_at else "goes on",
         one.run, one.text)
        for one, alert in zip(items, [a for a in found if not only_open or a.resolved_at is None], strict=True)
    ]  # fmt: skip
    write(table(("KIND", "PIPELINE", "TIMES", "LAST", "STATE", "RUN", "TEXT"), rows) if rows else "no alerts")
    for one in waiting:
        note(f"channel {one.channel}: {len(one.notices)} notices wait, tried {one.tries} times: {one.problem}")
    return ExitCode.OK
