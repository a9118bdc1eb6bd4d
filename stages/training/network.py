"""Training a PyTorch module by its dotted name; a killed training goes on from its last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from orchestrator import stage, step
from orchestrator.errors import ConfigError
from stages.columns import matrix, require_choice
from stages.features import FeaturePlan, Features
from stages.metrics import MAIN_METRIC, Judged, metric
from stages.training.epochs import Device, Examples, Schedule, Worker, fit_network
from stages.training.estimators import Trained, refuse_gaps, row_weights
from stages.training.formats.safetensors_weights import (
    BUILT_IN,
    Network,
    network_bytes,
    with_widths,
)
from stages.training.model import fitted_rows
from stages.training.model_file import ModelFile
from stages.training.rounds import Curve
from stages.training.target import Labels, read_labels

WORK = "stages.training.network:learn"
"""What each of several processes runs."""


@dataclass(frozen=True)
class Prepared:
    """All that a training needs, read from tables."""

    network: Network
    labels: Labels
    rows: Examples
    held: Examples | None


@stage(cache="30d", timeout="6h")
def train_network(
    table: pa.Table, features: FeaturePlan | Features, target: str, task: Literal["classes", "numbers"] = "classes",
    module: str = BUILT_IN, params: Mapping[str, Any] | None = None, validation: pa.Table | None = None,
    holdout: float = 0.1, epochs: int = 20, batch_size: int = 64, optimizer: str = "torch.optim.AdamW",
    optimizer_params: Mapping[str, Any] | None = None, early_stopping_epochs: int | None = None,
    class_weight: Literal["balanced"] | Mapping[str, float] | None = None, weight: str | None = None,
    checkpoint_every: int = 1, seed: int | None = None, device: Device = "auto", num_threads: int = 1,
    workers: int = 1,
) -> Trained:  # fmt: skip
    """Train a PyTorch module on encoded rows; rows without a target are left out.

    Each epoch is reported and kept as a checkpoint, from which a later attempt of the step goes on. On the CPU equal
    data, parameters and seed give equal bytes, also after an interruption.

    Args:
        table: ``fit_plan(…).table``, or the output of ``transform``; with the target kept. Scale the features.
        features: What encoded it.
        task: Whether the target says a class or is a number.
        module: Dotted name of a subclass of ``torch.nn.Module`` that takes (rows, inputs) and gives (rows, outputs): a
            logit for each class, one logit for two classes, or the number.
        params: What it is called with; ``inputs`` and ``outputs`` (or ``in_features`` and ``out_features``) are filled
            in where it has them.
        validation: Encoded rows that are only measured on: for the score, the curve and early stopping.
        holdout: Share of the rows, the last ones, that take this place where there is no ``validation``; 0 for none.
        optimizer: Dotted name of a class of ``torch.optim``, called with ``optimizer_params`` such as ``lr``.
        early_stopping_epochs: End after so many epochs without a better loss, and keep the best epoch.
        class_weight: Weight of a row by its class; ``balanced`` gives each class the same weight in sum.
        weight: Column of row weights, multiplied with the class weights.
        checkpoint_every: Epochs between checkpoints.
        seed: For the first weights, the order of rows and dropout; the step's own when not given.
        device: ``auto`` takes the GPU of a step that has one.
        num_threads: Threads; declare ``num_cpus`` to match.
        workers: Processes on Ray Train that share each batch, with ``num_threads`` CPUs each, and a GPU each for
            ``cuda``. More than one needs ``train_network.options(uses="train")``. They learn what one would, but for
            rounding and dropout.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target has a single class or values that are not finite, or an input does; names columns and
            rows.
        ConfigError: the module, the optimizer, a parameter or the device is not known, or does not do what is asked.
    """
    require_choice(device, ("auto", "cpu", "cuda"), "The device")
    prepared = prepare(
        table, features, target, task, module, params, validation, holdout, early_stopping_epochs, class_weight, weight
    )
    schedule = Schedule(
        epochs=_positive(epochs, "epochs"),
        batch_size=_positive(batch_size, "batch_size"),
        optimizer=optimizer,
        optimizer_params=dict(optimizer_params or {}),
        patience=early_stopping_epochs,
        checkpoint_every=_positive(checkpoint_every, "checkpoint_every"),
        seed=step().seed if seed is None else seed,
        device=device,
        num_threads=_positive(num_threads, "num_threads"),
    )
    learned = _learned(prepared, schedule, _positive(workers, "workers"))
    return _trained(prepared, learned, features, target)


@dataclass(frozen=True)
class Lesson:
    """What a process is given to learn."""

    prepared: Prepared
    schedule: Schedule


@dataclass(frozen=True)
class Learned:
    """What it comes to: a file, and the curve."""

    data: bytes
    curve: Curve


def learn(lesson: Lesson, worker: Worker) -> Learned:
    """Train as one of several processes; raises as ``train_network``."""
    told = lesson.prepared
    weights, curve = fit_network(told.network, told.labels.task, told.rows, told.held, lesson.schedule, worker)
    return Learned(network_bytes(told.network, weights), curve)


class _Alone:
    """A single process: the step itself."""

    rank = 0
    size = 1

    def __init__(self) -> None:
        self._step = step()
        self.restored = self._step.restored()

    def report(self, metrics: Mapping[str, float]) -> None:
        """Report them of the step."""
        self._step.report(**metrics)

    def checkpoint(self, value: Any) -> None:
        """Keep it for the step's next attempt."""
        self._step.checkpoint(value)


def _learned(prepared: Prepared, schedule: Schedule, workers: int) -> Learned:
    lesson = Lesson(prepared, schedule)
    if workers == 1:
        return learn(lesson, _Alone())
    context = step()
    found: Learned = context.train.run(
        work=WORK,
        given=lesson,
        workers=workers,
        resources={"CPU": schedule.num_threads} | ({"GPU": 1} if schedule.device == "cuda" else {}),
        restored=context.restored(),
        report=lambda metrics: context.report(**metrics),
        keep=context.checkpoint,
    )
    return found


def prepare(
    table: pa.Table,
    features: FeaturePlan | Features,
    target: str,
    task: Literal["classes", "numbers"],
    module: str,
    params: Mapping[str, Any] | None,
    validation: pa.Table | None,
    holdout: float,
    patience: int | None,
    class_weight: Literal["balanced"] | Mapping[str, float] | None,
    weight: str | None,
) -> Prepared:
    """Read what is to be learned; raises as ``train_network``."""
    require_choice(task, ("classes", "numbers"), "The task of a network")
    if not 0 <= holdout < 1:
        raise ConfigError(f"The share of held-out rows is at least 0 and below 1, not {holdout!r}")
    if patience is not None and (patience < 1 or (validation is None and not holdout)):
        raise ConfigError(f"Early stopping of {module} needs an epoch or more, and a validation table or a holdout.")
    rows, labels = read_labels(table, target, task == "classes")
    encoded = matrix(rows, features.names, "The table given to train_network")
    refuse_gaps(encoded, features.names, module)
    given = row_weights(rows, labels, class_weight, weight)
    weights = np.ones(len(encoded)) if given is None else given
    learned = Examples(encoded, labels.values, weights)
    held = None
    if validation is not None:
        kept, other = read_labels(validation, target, task == "classes", labels.classes or None)
        beside = matrix(kept, features.names, "The validation table of train_network")
        refuse_gaps(beside, features.names, module)
        held = Examples(beside, other.values, np.ones(len(beside)))
    elif holdout and len(encoded) > 1:
        count = fitted_rows(len(encoded), holdout)
        learned = Examples(encoded[:count], labels.values[:count], weights[:count])
        held = Examples(encoded[count:], labels.values[count:], np.ones(len(encoded) - count))
    outputs = len(labels.classes) if labels.task == "multiclass" else 1
    network = Network(module, with_widths(module, params or {}, encoded.shape[1], outputs))
    if labels.task == "regression":
        center, scale = float(learned.labels.mean()), float(learned.labels.std()) or 1.0
        network = Network(module, network.params, center, scale)
    return Prepared(network, labels, learned, held)


def _trained(prepared: Prepared, learned: Learned, features: FeaturePlan | Features, target: str) -> Trained:
    """The model that was learned, with its score on the held-out rows, which is reported."""
    network, labels, held = prepared.network, prepared.labels, prepared.held
    model = ModelFile("safetensors", learned.data, features, target, labels.task, labels.classes, network.module)
    name = MAIN_METRIC[labels.task]
    score = metric(name).function(Judged(held.labels, model.predict_encoded(held.encoded))) if held else None
    if score is not None:
        step().report(**{name: score})
    return Trained(
        model, name, score, learned.curve.losses, learned.curve.kept, len(prepared.rows.labels), network.params
    )


def _positive(value: int, name: str) -> int:
    if value < 1:
        raise ConfigError(f"train_network needs {name} of 1 or more, not {value!r}")
    return value
