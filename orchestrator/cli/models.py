"""``orc models`` and ``orc promote``: versions of models, where they stand, what they were made of, and moving them."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from orchestrator.app.installation import Installation
from orchestrator.app.models import Lineage, Models, ModelVersion, model_address
from orchestrator.app.outputs import Outputs, StoredValues
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
from orchestrator.config.job import load_job
from orchestrator.errors import ConfigError, PromotionRefused
from orchestrator.graph.version import parse_version
from orchestrator.ports.promotion import PROMOTION_TAGS, GateCheck, Promotion, needs_checks
from orchestrator.serving import ModelCard
from orchestrator.views.model_card import CardView, card_html, card_markdown

_SOUNDNESS = "stages.pipelines.promoting:examine"
_RELATION = {"<=": "at most", "<": "below", ">=": "at least", ">": "above"}

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
        _one(here, known, known[name], card, json)
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
        limits = {"max_p99_ms": max_p99_ms, "max_size_bytes": int(max_size_mib * 2**20)}
        sound = _examine(runner, version.address, sample, limits, timeout, quiet)
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
    runner: Runner, address: str, sample: str | None, limits: dict[str, Any], timeout: str | None, quiet: bool
) -> tuple[str, list[GateCheck]] | ExitCode:
    """Run the soundness checks; an exit code if they were left before their end."""
    here = runner.installation
    given = [f"model={address}", *([f"sample={sample}"] if sample else ()), *(f"{k}={v}" for k, v in limits.items())]
    job = load_job(_SOUNDNESS, given)
    started: list[Run] = []

    def start() -> Run:
        started.append(runner.start(job.pipeline, job.params, job.pipeline.run_options))
        return started[0]

    ended = drive(here, start, timeout, False, quiet)
    if isinstance(ended, ExitCode):
        return ended
    run = started[0].id
    if ended.state != "succeeded":
        finished = ended.follower.fold.finished
        return run, [GateCheck("soundness", False, finished.reason if finished else f"run {run} has not ended")]
    record = Outputs(here, ended.follower.fold).result()
    return run, [GateCheck(found["check"], found["passed"], _said(found)) for found in record["findings"]]


def _said(finding: dict[str, Any]) -> str:
    if not finding["passed"]:
        return str(finding["why"]).removeprefix(finding["check"]).strip()
    limit = finding["threshold"]
    wanted = "" if limit is None else f", {_RELATION[finding['relation']]} {_shown(limit)}"
    return f"{_shown(finding['measured'])}{wanted}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _one(here: Installation, known: Models, version: ModelVersion, card: Path | None, json: bool) -> None:
    promotions = [one for one in known.promotions(version.row.name) if one.number == version.row.number]
    cell = version.card_cell()
    document = ModelDocument(
        _item(here, version), _checks(version.gates), list(map(_promotion, promotions)), _lineage(version.lineage),
        None if cell is None else StoredValues(here).data(cell),
    )  # fmt: skip
    if json:
        write_json(document)
    elif card is None:
        write("\n".join(_described(document)))
    if card is not None:
        _write_card(card, document)


def _write_card(path: Path, document: ModelDocument) -> None:
    drawn = {".md": card_markdown, ".html": card_html}.get(path.suffix.lower())
    if drawn is None:
        raise ConfigError(f"--card {path}: write FILE.md or FILE.html")
    model, made = document.model, document.lineage
    facts = [("version", model.address), ("made at", model.created_at), ("size", size(model.size_bytes)),
             ("digest", model.digest)]  # fmt: skip
    try:
        found = None if document.card is None else msgspec.convert(document.card, ModelCard)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"the card of {model.address} is of a class that is not {ModelCard.__name__}: {error}"
        ) from None
    view = CardView(
        model.address, model.stage, model.aliases, facts, found, model.scores,
        [("run", f"the record of {model.run} was removed")] if made is None else list(lineage_lines(made)),
        [(gate.passed, gate.name, gate.said) for gate in document.gates],
        [(f"{one.at[:19]}Z", f"{one.before} → {one.to}", _by(one)) for one in document.promotions],
    )  # fmt: skip
    path.write_text(drawn(view), encoding="utf-8")
    note(f"{path}: the card of {model.address}")


def _described(document: ModelDocument) -> Iterator[str]:
    model, made = document.model, document.lineage
    yield f"{model.address}  {model.stage}" + (f"  ({', '.join(model.aliases)})" if model.aliases else "")
    yield f"{model.type}, {size(model.size_bytes)}, {model.digest[:12]}"
    yield from (f"  {name} {value:.4g}" for name, value in model.scores.items())
    if made is None:
        yield f"lineage: the record of run {model.run} was removed"
    else:
        yield "lineage"
        yield from (f"  {label:<11} {said}" for label, said in lineage_lines(made))
    yield "gates"
    yield from (f"  {line}" for line in _told([GateCheck(g.name, g.passed, g.said) for g in document.gates]))
    if document.promotions:
        yield "promotions"
        yield from (f"  {one.at[:19]}Z  {one.before} -> {one.to}  {_by(one)}" for one in document.promotions)


def _by(one: PromotionItem) -> str:
    told = f"by {one.by}" + (f", instead of {one.replaced}" if one.replaced else "")
    return told + (", forced" if one.forced else "") + (f": {one.why}" if one.why else "")


def lineage_lines(made: LineageItem) -> Iterator[tuple[str, str]]:
    """What a version was made of, as labels and texts."""
    yield "run", f"{made.run} ({made.pipeline}, {made.state}), step {made.step}"
    yield "code", f"capsule {made.capsule[:12]}" + (f", git {made.commit[:12]}" if made.commit else "")
    yield "environment", f"Python {made.python or 'unknown'} on {', '.join(made.hosts)}, seed {made.seed}"
    for name, value in made.params.items():
        yield "parameter", f"{name} = {value}"
    for source in made.sources:
        rows = "" if source.rows is None else f", {source.rows:,} rows"
        yield "data", f"{source.step}: {source.type.rpartition(':')[2]}{rows}, {source.digest[:12] or 'many outputs'}"
    for path, digest in made.files.items():
        yield "file", f"{path}, {digest[:12]}"
    for asked, found in made.versions.items():
        yield "version", found if asked.endswith("@" + found.rpartition("@")[2]) else f"{found} (asked for {asked})"


def _row(item: ModelItem, version: ModelVersion) -> tuple[str, ...]:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in list(item.scores.items())[:3])
    return (
        item.address, item.stage, ", ".join(item.aliases), scores, item.run, local_time(version.row.at),
        size(item.size_bytes),
    )  # fmt: skip


def _item(here: Installation, version: ModelVersion) -> ModelItem:
    row, seen = version.row, version.description
    aliases = [tag for tag in row.tags if tag not in PROMOTION_TAGS or tag == "previous"]
    return ModelItem(
        version.address, row.name, row.number, version.stage, aliases, _scores(here, version), row.digest, seen.type,
        seen.size, row.run, version.step, iso(row.at) or "",
    )  # fmt: skip


def _scores(here: Installation, version: ModelVersion) -> dict[str, float]:
    """What was reported, or else what its card has."""
    if version.metrics or (cell := version.card_cell()) is None:
        return version.metrics
    scores = StoredValues(here).data(cell).get("scores", [])
    return {score["metric"]: score["value"] for score in scores if score["value"] is not None}


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
