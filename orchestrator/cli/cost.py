"""``orc cost``: what a run cost by step, or what runs cost by run, pipeline or tag, with the part that was idle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import typer

from orchestrator.app.costs import Spent, consumed_by_node, grouped, slots_idle_share, spent_by_run
from orchestrator.app.installation import Installation
from orchestrator.cli.listing import Json
from orchestrator.cli.output import counted, note, size, table, write, write_json
from orchestrator.cli.signal_documents import CostDocument, CostItem
from orchestrator.config.prices import read_prices
from orchestrator.errors import ConfigError
from orchestrator.ports.prices import Prices
from orchestrator.readers.cost import Consumed, Use, cost_of, total
from orchestrator.types import seconds
from orchestrator.views.status import duration_text

MaybeRun = Annotated[str | None, typer.Argument(metavar="[RUN]", help="by step; all runs by pipeline if not given")]
Pipeline = Annotated[str, typer.Option("--pipeline", help="the runs of one pipeline")]
Tag = Annotated[str, typer.Option("--tag", metavar="NAME", help="by the values of a tag")]
Since = Annotated[str, typer.Option("--since", metavar="DURATION", help="only runs made since, such as 30d")]

By = Literal["step", "run", "pipeline", "tag"]


def cost(
    run_id: MaybeRun = None, pipeline: Pipeline = "", tag: Tag = "", since: Since = "", json: Json = False
) -> None:
    """Say what runs cost, from measured CPU and memory, reserved GPUs, and the prices in ORC_HOME/prices.yaml."""
    here = Installation()
    prices = read_prices(here.settings.home)
    if run_id is not None:
        if pipeline or tag or since:
            raise ConfigError("the cost of one run is told by step: leave --pipeline, --tag and --since out")
        document = _of_run(here, here.journal.run(run_id).id, prices)
    else:
        runs = spent_by_run(here)
        oldest = here.clock.now() - seconds(since) if since else 0.0
        chosen = {run: spent for run, spent in runs.items()
                  if pipeline in ("", spent.pipeline) and spent.created_at >= oldest}  # fmt: skip
        document = _of_runs(chosen, "tag" if tag else "run" if pipeline else "pipeline", tag, prices)
    if json:
        write_json(document)
    else:
        _tell(document)


def _of_run(here: Installation, run: str, prices: Prices) -> CostDocument:
    use, facts = Use(), list(here.journal.facts(run))
    for recorded in facts:
        use.add(recorded.fact, recorded.at)
    nodes = consumed_by_node(here.fold(run), use)
    idle = slots_idle_share(facts, here.clock.now())
    return _document("step", nodes, 1, prices, idle)


def _of_runs(runs: Mapping[str, Spent], by: By, tag: str, prices: Prices) -> CostDocument:
    keys: Mapping[By, Callable[[str, Spent], str | None]] = {
        "run": lambda run, _: run,
        "pipeline": lambda _, spent: spent.pipeline,
        "tag": lambda _, spent: spent.tags.get(tag, "(none)"),
    }
    groups = {name: found for name, (found, _) in grouped(runs, keys[by]).items()}
    return _document(by, groups, len(runs), prices)


def _document(
    by: By, groups: Mapping[str, Consumed], runs: int, prices: Prices, idle: float | None = None
) -> CostDocument:
    items = [_item(name, found, prices) for name, found in groups.items()]
    if by != "step":
        items.sort(key=lambda item: -item.amount)
    return CostDocument(prices.currency, by, items, _item("total", total(groups.values()), prices), runs, idle)


def _item(name: str, found: Consumed, prices: Prices) -> CostItem:
    cost = cost_of(found, prices)
    return CostItem(
        name, cost.amount, cost.idle, cost.idle_share, cost.cpu, cost.memory, cost.gpu, found.steps, found.wall_s,
        found.used_cpu_s, found.reserved_cpu_s, found.gpu_s, found.peak_bytes,
    )  # fmt: skip


def _tell(document: CostDocument) -> None:
    head = (
        document.by.upper(),
        "STEPS",
        "RAN",
        "CPU USED/RESERVED",
        "PEAK",
        "GPU",
        f"COST {document.currency}",
        "IDLE",
    )
    rows = [_row(item) for item in (*document.items, document.total)]
    write(table(head, rows))
    if document.by != "step":
        note(counted(document.runs, "run"))
    if document.slots_idle_share is not None:
        note(f"no body ran for {document.slots_idle_share:.0%} of the time of the run's slots")


def _row(item: CostItem) -> tuple[str, ...]:
    return (
        item.name, f"{item.steps:,}", duration_text(item.wall_s),
        f"{duration_text(item.cpu_s)} / {duration_text(item.reserved_cpu_s)}", size(item.peak_bytes),
        duration_text(item.gpu_s) if item.gpu_s else "-", amount_text(item.amount), f"{item.idle_share:.0%}",
    )  # fmt: skip


def amount_text(amount: float) -> str:
    """An amount with as many digits as say something."""
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.2g}"
