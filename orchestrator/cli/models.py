"""``orc models`` and ``orc promote``: versions of models, where they stand, what they were made of, and moving them."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.app.cards import aliases_of, by_text, card_of, lineage_lines, promotions_of, scores_of
from orchestrator.app.installation import Installation
from orchestrator.app.models import Lineage, Models, ModelVersion, model_address
from orchestrator.app.outputs import StoredValues
from orchestrator.app.promoting import Promote, examine, soundness_of
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.model_documents import (
    GateCheckItem,
    LineageItem,
    ModelDocument,
    ModelItem,
    PromoteDocument,
    PromotionItem,
    SourceItem,
)
from orchestrator.cli.output import iso, local_time, note, size, table, write, write_json
from orchestrator.cli.release_options import MaxP99Ms, MaxSizeMib, Sample, Why
from orchestrator.cli.running import Quiet, TimeLimit, drive
from orchestrator.errors import ConfigError, PromotionRefused
from orchestrator.graph.version import parse_version
from orchestrator.ports.promotion import GateCheck, Promotion, needs_checks
from orchestrator.views.model_card import card_html, card_markdown

Address = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="of a model, such as flights@v3")]


def models(
    name: Annotated[str | None, typer.Argument(metavar="NAME[@VERSION]", help="of a model; all if not given")] = None,
    card: Annotated[
        Path | None, typer.Option("--card", metavar="FILE", help="write the model card: .md or .html")
    ] = None,
    json: Json = False,
) -> None:
    """List versions of models with their stages, newest first; of one version, everything that is known."""
    here = Installation()
    known = Models(here)
    if name is not None and ("@" in name or card is not None):
        _one(here, known[name], card, json)
        return
    if card is not None:
        raise ConfigError("--card writes the card of one version; name it, such as flights@v3")
    found = known.list(name)
    if name is not None and not found:
        here.registry.find(parse_version(model_address(name)))  # says what there is instead
    if json:
        write_json([_item(here, one) for one in found])
    elif not found:
        write("no model has been published yet; a stage publishes what it returns with publish='model:NAME'")
    else:
        write(
            table(
                ("model", "stage", "aliases", "scores", "run", "created", "size"),
                [_row(_item(here, one), one) for one in found],
            )
        )


def promote(
    address: Address,
    to: Annotated[str, typer.Option("--to", metavar="staging|production|dev", help="where it goes")],
    why: Why = "",
    alias: Annotated[
        str, typer.Option("--alias", metavar="TAG", help="give it this tag at once, such as champion")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="although checks did not pass; needs --why")] = False,
    sample: Sample = None,
    max_p99_ms: MaxP99Ms = 100.0,
    max_size_mib: MaxSizeMib = 256.0,
    timeout: TimeLimit = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Move a model version up, past the gates of its run and soundness checks, or down; exit code 3 if refused."""
    runner = Runner()
    known = Models(runner.installation)
    if (there := known[address]).stage == to:
        return _already(there, to, json)
    version, wanted = known.wanted(there.address, to, _user(), why, force, alias)
    if needs_checks(known.standing(version.row.name), version.row.number, wanted.to):
        asked = Promote(
            model=version.address, to=to, by=wanted.by, sample=sample, max_p99_ms=max_p99_ms, max_size_mib=max_size_mib
        )
        sound = _examine(runner, version, asked, timeout, quiet)
        if isinstance(sound, ExitCode):
            return sound
        run, checks = sound
        wanted = replace(wanted, checks=(*version.gates, *checks), run=run)
    checked = _checks(wanted.checks)
    if not json:
        for line in _told(wanted.checks):
            note(line)
    try:
        done = known.promote(wanted)
    except PromotionRefused as error:
        if not json:
            raise
        write_json(PromoteDocument(wanted.address, version.stage, False, error.message, checked, None))
        return ExitCode.REFUSED
    if json:
        write_json(PromoteDocument(wanted.address, done.to, True, "", checked, _promotion(done)))
    else:
        note(f"{wanted.address}: {_moved(done)}")
    return ExitCode.OK


def _already(version: ModelVersion, to: str, json: bool) -> int:
    """Asking again for what was done is no error: a job may be repeated."""
    reason = f"{version.address} is in {to} already"
    if json:
        write_json(PromoteDocument(version.address, version.stage, False, reason, [], None))
    else:
        note(reason)
    return ExitCode.OK


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _examine(
    runner: Runner, version: ModelVersion, asked: Promote, timeout: str | None, quiet: bool
) -> tuple[str, list[GateCheck]] | ExitCode:
    """Run the soundness checks; an exit code if they were left before their end."""
    started: list[Run] = []

    def start() -> Run:
        started.append(examine(runner, version, asked))
        return started[0]

    ended = drive(runner.installation, start, timeout, False, quiet)
    if isinstance(ended, ExitCode):
        return ended
    return started[0].id, soundness_of(runner.installation, started[0].id)


def _one(here: Installation, version: ModelVersion, card: Path | None, json: bool) -> None:
    promotions, cell = promotions_of(here, version), version.card_cell()
    document = ModelDocument(
        _item(here, version), _checks(version.gates), list(map(_promotion, promotions)), _lineage(version.lineage),
        None if cell is None else StoredValues(here).data(cell),
    )  # fmt: skip
    if json:
        write_json(document)
    elif card is None:
        write("\n".join(_described(document, version, promotions)))
    if card is not None:
        _write_card(here, card, version)


def _write_card(here: Installation, path: Path, version: ModelVersion) -> None:
    drawn = {".md": card_markdown, ".html": card_html}.get(path.suffix.lower())
    if drawn is None:
        raise ConfigError(f"--card {path}: write FILE.md or FILE.html")
    path.write_text(drawn(card_of(here, version)), encoding="utf-8")
    note(f"{path}: the card of {version.address}")


def _described(document: ModelDocument, version: ModelVersion, promotions: Sequence[Promotion]) -> Iterator[str]:
    model, made = document.model, version.lineage
    yield f"{model.address}  {model.stage}" + (f"  ({', '.join(model.aliases)})" if model.aliases else "")
    yield f"{model.type}, {size(model.size_bytes)}, {model.digest[:12]}"
    yield from (f"  {name} {value:.4g}" for name, value in model.scores.items())
    if made is None:
        yield f"lineage: the record of run {model.run} was removed"
    else:
        yield "lineage"
        yield from (f"  {label:<11} {said}" for label, said in lineage_lines(made))
    yield "gates"
    yield from (f"  {line}" for line in _told(version.gates))
    if promotions:
        yield "promotions"
        yield from (f"  {(iso(one.at) or '')[:19]}Z  {one.before} -> {one.to}  {by_text(one)}" for one in promotions)


def _row(item: ModelItem, version: ModelVersion) -> tuple[str, ...]:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in list(item.scores.items())[:3])
    return (
        item.address, item.stage, ", ".join(item.aliases), scores, item.run, local_time(version.row.at),
        size(item.size_bytes),
    )  # fmt: skip


def _item(here: Installation, version: ModelVersion) -> ModelItem:
    row, seen = version.row, version.description
    return ModelItem(
        version.address, row.name, row.number, version.stage, aliases_of(version), scores_of(here, version), row.digest,
        seen.type, seen.size, row.run, version.step, iso(row.at) or "",
    )  # fmt: skip


def _checks(checks: Sequence[GateCheck]) -> list[GateCheckItem]:
    return [GateCheckItem(check.name, check.passed, check.said) for check in checks]


def _told(checks: Sequence[GateCheck]) -> Iterator[str]:
    return (f"{'ok' if check.passed else 'refused':8} {check.name}" + (f": {check.said}" if check.said else "")
            for check in checks)  # fmt: skip


def _moved(done: Promotion) -> str:
    replaced = "" if done.replaced is None else f", instead of v{done.replaced}"
    return f"{done.before} -> {done.to}{replaced}" + (" (forced)" if done.forced else "")


def _promotion(one: Promotion) -> PromotionItem:
    replaced = None if one.replaced is None else f"{one.name}@v{one.replaced}"
    return PromotionItem(
        f"{one.name}@v{one.number}", one.before, one.to, replaced, one.by, one.why, iso(one.at) or "", one.forced,
        one.alias, one.run, _checks(one.checks),
    )  # fmt: skip


def _lineage(made: Lineage | None) -> LineageItem | None:
    if made is None:
        return None
    sources = [SourceItem(one.step, one.type, one.digest, one.rows) for one in made.sources]
    return LineageItem(
        made.run, made.pipeline, made.step, made.state, made.commit, made.capsule, made.python, list(made.hosts),
        made.seed, dict(made.params), dict(made.files), dict(made.versions), sources,
    )  # fmt: skip
