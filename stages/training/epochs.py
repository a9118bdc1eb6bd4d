"""The loop that trains a PyTorch module, epoch by epoch, alone or as one of several that share each batch.

What is drawn follows from seed and epoch, so a training that goes on from a checkpoint ends where it would have ended;
and the parts of a batch are weighed such that several processes learn what one would.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from orchestrator.errors import ConfigError
from stages.columns import Floats, suggestion
from stages.training.formats.safetensors_weights import Network, limited_threads, torch_package
from stages.training.rounds import Curve
from stages.training.target import Task

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Examples:
    """Encoded rows (rows, inputs), their labels and their weights, both (rows,)."""

    encoded: Floats
    labels: Floats
    weights: Floats

    def on(self, device: str) -> tuple[Any, Any, Any]:
        """As single-precision tensors on a device."""
        torch = torch_package()
        columns = (self.encoded, self.labels, self.weights)
        return tuple(torch.from_numpy(np.array(values, dtype=np.float32)).to(device) for values in columns)


@dataclass(frozen=True)
class Schedule:
    """How a module is trained.

    Attributes:
        optimizer: Dotted name of a class of ``torch.optim``, called with ``optimizer_params``.
        patience: Epochs without a better loss on held-out rows before it ends; the best epoch is kept. None: all
            epochs, and the last is kept.
        checkpoint_every: Epochs between checkpoints.
    """

    epochs: int
    batch_size: int
    optimizer: str
    optimizer_params: Mapping[str, Any]
    patience: int | None
    checkpoint_every: int
    seed: int
    device: Device
    num_threads: int


class Worker(Protocol):
    """One of the processes that train a module together; see ``step().train``. A single one has rank 0 of 1."""

    rank: int
    size: int
    restored: Any

    def report(self, metrics: Mapping[str, float]) -> None:
        """Report metrics; only those of rank 0 count."""
        ...

    def checkpoint(self, value: Any) -> None:
        """Keep a value; only that of rank 0 counts."""
        ...


@dataclass
class Progress:
    """How far a training is: losses of the epochs done, and the weights of the best one."""

    losses: list[float] = field(default_factory=list)
    kept: int = 0
    best: dict[str, Any] = field(default_factory=dict)

    def note(self, loss: float, weights: Mapping[str, Any], always: bool) -> None:
        """Add an epoch; its weights are kept if it is the best so far, or always."""
        self.losses.append(loss)
        if always or not self.kept or loss < self.losses[self.kept - 1]:
            self.kept = len(self.losses)
            self.best = {name: weight.detach().cpu().clone() for name, weight in weights.items()}

    def ended(self, schedule: Schedule) -> bool:
        """Whether all epochs are done, or the last ones brought nothing."""
        done = len(self.losses)
        return done >= schedule.epochs or (schedule.patience is not None and done - self.kept >= schedule.patience)


def fit_network(
    network: Network, task: Task, rows: Examples, held: Examples | None, schedule: Schedule, worker: Worker
) -> tuple[dict[str, Any], Curve]:
    """Train a module.

    Args:
        rows: To learn from; labels are positions of classes, or values.
        held: Only measured on.

    Returns:
        The weights kept, and the loss after each epoch: on the held-out rows where there are some.

    Raises:
        ConfigError: the module or the optimizer is not known or refuses its parameters, its outputs do not fit the
            task, or the loss leaves the finite numbers.
    """
    torch = torch_package()
    device = device_named(schedule.device)
    drawn = [] if device == "cpu" else [torch.cuda.current_device()]
    with limited_threads(schedule.num_threads), torch.random.fork_rng(drawn):
        torch.manual_seed(schedule.seed)
        module = network.build().to(device)
        optimizer = _optimizer(schedule, module.parameters())
        progress = _restored(worker.restored, module, optimizer, device)
        shared = module if worker.size == 1 else torch.nn.parallel.DistributedDataParallel(module)
        tensors, beside = rows.on(device), held.on(device) if held else None
        while not progress.ended(schedule):
            epoch = len(progress.losses)
            torch.manual_seed(_seed_of(schedule.seed, epoch, worker.rank))
            losses = {"loss": _epoch(network, task, shared, optimizer, tensors, schedule, epoch, worker)}
            if beside is not None:
                losses["validation_loss"] = _measured(network, task, module, beside, schedule.batch_size)
            _refuse_infinite(losses, network, epoch)
            progress.note(list(losses.values())[-1], module.state_dict(), always=schedule.patience is None)
            worker.report({**losses, "epoch": epoch + 1})
            if (epoch + 1) % schedule.checkpoint_every == 0 and not progress.ended(schedule):
                worker.checkpoint(_checkpoint(progress, module, optimizer))
    return progress.best, Curve(progress.losses, progress.kept)


def device_named(device: Device) -> str:
    """Where to train: ``cpu`` or ``cuda``; ``auto`` takes a GPU where this process has one.

    Raises:
        ConfigError: a GPU is asked for and this process has none.
    """
    there = device != "cpu" and torch_package().cuda.is_available()
    if device == "cuda" and not there:
        raise ConfigError("device='cuda', but this step sees no GPU; declare num_gpus, or let device be 'auto'.")
    return "cuda" if there else "cpu"


def _optimizer(schedule: Schedule, parameters: Iterator[Any]) -> Any:
    torch = torch_package()
    package, _, name = schedule.optimizer.rpartition(".")
    found = getattr(torch.optim, name, None)
    if package != "torch.optim" or not isinstance(found, type) or not issubclass(found, torch.optim.Optimizer):
        raise ConfigError(
            f"{schedule.optimizer!r} is not the dotted name of an optimizer of torch.optim."
            f"{suggestion(name, dir(torch.optim))}"
        )
    try:
        return found(parameters, **schedule.optimizer_params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{schedule.optimizer} refuses {dict(schedule.optimizer_params)}: {error}") from None


def _seed_of(seed: int, epoch: int, rank: int) -> int:
    """A seed for what is drawn inside of a module, such as dropout: other in each epoch and process."""
    return int(np.random.SeedSequence([seed % 2**63, epoch, rank]).generate_state(1)[0])


def _epoch(
    network: Network, task: Task, module: Any, optimizer: Any, rows: Any, schedule: Schedule, epoch: int, worker: Worker
) -> float:
    """Once through all rows in a new order; the mean loss while learning, of this process's part."""
    torch = torch_package()
    encoded, labels, weights = rows
    order = torch.as_tensor(np.random.default_rng([schedule.seed % 2**63, epoch]).permutation(len(labels)))
    module.train()
    total = 0.0
    for batch in order.to(encoded.device).split(schedule.batch_size):
        mine = batch[worker.rank :: worker.size]
        optimizer.zero_grad()
        losses = _losses(network, task, network.ask(module, encoded[mine]), labels[mine])
        loss = (losses * weights[mine]).sum() * worker.size / weights[batch].sum().clamp_min(1e-12)
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(batch)
    return total / len(labels)


def _measured(network: Network, task: Task, module: Any, rows: Any, batch_size: int) -> float:
    torch = torch_package()
    encoded, labels, weights = rows
    module.eval()
    total = 0.0
    with torch.inference_mode():
        for part in torch.arange(len(labels), device=encoded.device).split(max(batch_size, 1024)):
            losses = _losses(network, task, network.ask(module, encoded[part]), labels[part])
            total += float((losses * weights[part]).sum())
    return total / float(weights.sum())


def _losses(network: Network, task: Task, answers: Any, labels: Any) -> Any:
    """The loss of each row: log loss, or the squared error in units of the target's deviation."""
    torch = torch_package()
    shape = tuple(answers.shape)
    if task == "multiclass":
        if len(shape) != 2:
            raise ConfigError(
                f"{network.module} gives {shape} for {len(labels)} rows; one number for each class is needed"
            )
        return torch.nn.functional.cross_entropy(answers, labels.long(), reduction="none")
    if shape not in ((len(labels), 1), (len(labels),)):
        raise ConfigError(f"{network.module} gives {shape} for {len(labels)} rows; one number for each row is needed")
    flat = answers.reshape(-1)
    if task == "binary":
        return torch.nn.functional.binary_cross_entropy_with_logits(flat, labels, reduction="none")
    return (flat - (labels - network.center) / network.scale) ** 2


def _refuse_infinite(losses: Mapping[str, float], network: Network, epoch: int) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise ConfigError(
                f"The {name.replace('_', ' ')} of {network.module} is {value} after epoch {epoch + 1}; lower the "
                "learning rate, or scale the features."
            )


def _checkpoint(progress: Progress, module: Any, optimizer: Any) -> bytes:
    target = io.BytesIO()
    state = {**vars(progress), "module": module.state_dict(), "optimizer": optimizer.state_dict()}
    torch_package().save(state, target)
    return target.getvalue()


def _restored(checkpoint: bytes | None, module: Any, optimizer: Any, device: str) -> Progress:
    if checkpoint is None:
        return Progress()
    state = torch_package().load(io.BytesIO(checkpoint), map_location=device, weights_only=True)
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(state["losses"], state["kept"], {name: weight.cpu() for name, weight in state["best"].items()})
