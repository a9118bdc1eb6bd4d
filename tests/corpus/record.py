"""The form of a run in the corpus: its facts as the journal stores them, and the state they fold to as plain JSON."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.engine.state import RunFold
from orchestrator.graph.fact import Recorded
from orchestrator.graph.json import graph_from_json
from orchestrator.ports.frames import Span
from orchestrator.store.codec import decode_fact, encode_fact

HERE = Path(__file__).parent


class Kept(NamedTuple):
    """A run of the corpus: the graph it was created with, its facts, and the state that its release folded them to."""

    run: str
    graph: dict[str, Any]
    facts: list[Recorded]
    state: dict[str, Any]


DIGESTS = HERE / "digests.txt"


def digests() -> dict[str, str]:
    """Digest of every file of the corpus as it is."""
    files = sorted([*HERE.glob("[0-9]*/*"), *HERE.glob("*.json")])
    return {str(file.relative_to(HERE)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def kept_runs() -> list[Path]:
    """Runs of all generations."""
    return sorted(HERE.glob("[0-9]*/*.jsonl"))


def write_run(path: Path, graph: dict[str, Any], facts: list[Recorded], fold: RunFold) -> None:
    """Write a run: a head, one line for each fact, the state."""
    lines: list[dict[str, Any]] = [{"run": fold.run, "graph": graph}]
    for recorded in facts:
        kind, body = encode_fact(recorded.fact)
        line = {"seq": recorded.seq, "kind": kind, "at": recorded.at, "body": base64.b64encode(body).decode()}
        lines.append(line)
    lines.append({"state": state_of(fold)})
    path.write_text("".join(json.dumps(line, separators=(",", ":"), sort_keys=True) + "\n" for line in lines))


def without_paths(value: Any, places: Mapping[str, str]) -> Any:
    """A fact, or a JSON document, with other beginnings of paths: those of the machine that wrote it say nothing."""
    if isinstance(value, str):
        for place, name in places.items():
            value = value.replace(place, name)
        return value
    if isinstance(value, Mapping):
        return {key: without_paths(item, places) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(without_paths(item, places) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **without_paths(fields, places))
    return value


def read_run(path: Path) -> Kept:
    """What ``write_run`` wrote, its facts read by the current release."""
    head, *lines, last = (json.loads(line) for line in path.read_text().splitlines())
    facts = [
        Recorded(line["seq"], line["at"], decode_fact(
            head["run"], line["seq"], line["kind"], base64.b64decode(line["body"])
        )) for line in lines
    ]  # fmt: skip
    return Kept(head["run"], head["graph"], facts, last["state"])


def replay(kept: Kept) -> RunFold:
    """The state that the current release folds a run to."""
    fold = RunFold(kept.run, graph_from_json(kept.graph))
    for recorded in kept.facts:
        fold.apply(recorded.fact, recorded.at)
        fold.seq = recorded.seq
    return fold


def state_of(fold: RunFold) -> dict[str, Any]:
    """A run's state as plain JSON; a later release may add to it, and takes nothing away."""
    state = {
        "seq": fold.seq,
        "epoch": fold.epoch,
        "revision": fold.revision,
        "finished": [fold.finished.state, fold.finished.reason, fold.finished.outcome] if fold.finished else None,
        "cancel": fold.cancel.reason if fold.cancel else None,
        "failed": fold.failed,
        "waiting": {node: asked.text for node, asked in fold.waiting.items()},
        "retrying": [[*step, due] for step, due in fold.retrying.items()],
        "calls": [[*step, made] for step, made in fold.calls.items()],
        "seed": fold.created.seed if fold.created else None,
        "graph": [node.id for node in fold.graph.nodes],
        "nodes": dict(_nodes(fold)),
    }
    plain: dict[str, Any] = json.loads(json.dumps(state))
    return plain


def _nodes(fold: RunFold) -> Iterator[tuple[str, Any]]:
    for name, state in fold.nodes.items():
        yield (
            name,
            {
                "kind": state.node.kind,
                "parent": state.parent,
                "closed": state.closed,
                "status": list(state.status),
                "outputs": [_place(span) for span in state.outputs.spans],
                "batches": state.batches,
                "settled": state.settled,
                "failed_attempts": sorted(state.failed_attempts.items()),
                "deaths": sorted(state.deaths.items()),
                "checkpoints": [_place(span) for _, span in sorted(state.checkpoints.items())],
                "failures": [[index, failure.name] for index, failure in sorted(state.failures.items())],
                "degraded": sorted(state.degraded),
                "truth": state.truth,
                "length": state.output_length,
                "reused": state.reused,
            },
        )


def _place(span: Span) -> list[Any]:
    return [span.start, span.stop, span.chunk, span.at]
