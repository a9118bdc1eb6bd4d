"""PyTorch modules as safetensors: weights, and in the header the dotted name and parameters that build the module.

The header can name nothing but a subclass of ``torch.nn.Module`` that is installed or in the project, and the weights
must be those of the module that it builds.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from orchestrator.errors import ConfigError
from stages.columns import Floats, suggestion
from stages.training.target import Task

BUILT_IN = "stages.training.networks.Perceptron"

_HEADER = "stages.network/1"

_INSTALL = "install: pip install 'ray-orchestrator[torch]'"

_ROWS = 8192
"""Rows that go through a network at once."""


@dataclass(frozen=True)
class Network:
    """How a module is built, and what its outputs mean.

    Attributes:
        module: Dotted name of its class.
        params: What its class is called with.
        center, scale: The output of a regression is multiplied by ``scale``, then ``center`` is added.
    """

    module: str
    params: dict[str, Any]
    center: float = 0.0
    scale: float = 1.0

    def build(self) -> Any:
        """The module with weights drawn from PyTorch's generator.

        Raises:
            ConfigError: there is no such module, or it refuses the parameters.
        """
        try:
            return module_class(self.module)(**self.params)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"{self.module} cannot be made with {self.params!r}: {error}") from None

    def ask(self, module: Any, rows: Any) -> Any:
        """What a module made of this says of some rows.

        Raises:
            ConfigError: it cannot take them.
        """
        try:
            return module(rows)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"{self.module} cannot take {rows.dtype} of shape {tuple(rows.shape)}: {reason}"
            ) from None


def module_class(name: str) -> Any:
    """The subclass of ``torch.nn.Module`` behind a dotted name.

    Raises:
        ConfigError: there is none, or PyTorch is missing.
    """
    torch = torch_package()
    module_name, _, class_name = name.rpartition(".")
    try:
        if name == BUILT_IN:
            from stages.training.networks import Perceptron

            return Perceptron
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{name!r} cannot be imported ({error}); check its spelling, and import its module where the pipeline is "
            "written, so that it travels with it"
        ) from None
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, torch.nn.Module):
        known = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise ConfigError(f"{module_name} has no PyTorch module {class_name!r}.{suggestion(class_name, known)}")
    return found


def with_widths(name: str, params: Mapping[str, Any], inputs: int, outputs: int) -> dict[str, Any]:
    """Parameters of a module, with the widths of its ends under the names that it has for them, where not given.

    Raises:
        ConfigError: there is no such module, or it has no such parameter.
    """
    known = inspect.signature(module_class(name)).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for key in params:
            if key not in known:
                raise ConfigError(
                    f"{name} has no parameter {key!r}.{suggestion(key, known)} It has: {', '.join(known)}."
                )
    widths = {"inputs": inputs, "in_features": inputs, "outputs": outputs, "out_features": outputs}
    return {**{key: width for key, width in widths.items() if key in known}, **params}


def torch_package() -> Any:
    """PyTorch; raises ConfigError where it is missing."""
    try:
        import safetensors.torch  # noqa: F401 (of no use without it)
        import torch
    except ImportError as error:
        raise ConfigError(f"PyTorch cannot be imported ({error}); {_INSTALL}") from None
    return torch


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """PyTorch within so many threads; it would else take every core, whatever a step was given."""
    torch = torch_package()
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def network_bytes(network: Network, weights: Mapping[str, Any]) -> bytes:
    """A module's state as a file; equal weights and parameters give equal bytes.

    Raises:
        ConfigError: the parameters are not plain data.
    """
    from safetensors.torch import save

    try:
        header = json.dumps(asdict(network), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The parameters of {network.module} must be plain data: {error}") from None
    apart = {name: weight.detach().cpu().clone().contiguous() for name, weight in weights.items()}
    return bytes(save(apart, {_HEADER: header}))


@lru_cache(maxsize=8)
def loaded(data: bytes) -> tuple[Network, Any]:
    """How the module of a file is built, and the module with its weights, in double precision and for predicting.

    Raises:
        ConfigError: the bytes are no such file, or the weights are not those of the module.
    """
    torch_package()
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        size = int.from_bytes(data[:8], "little")
        network = Network(**json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_HEADER]))
        weights = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ConfigError(f"The model's data is no network in safetensors: {error!r}") from None
    module = network.build()
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"The weights are not those of {network.module}: {str(error).splitlines()[-1]}") from None
    return network, module.double().eval()


def predict(data: bytes, encoded: Floats, task: Task) -> Any:
    """Predictions of encoded rows; see ``FORMATS``."""
    torch = torch_package()
    network, module = loaded(data)
    if not np.isfinite(encoded).all():
        raise ValueError("a network takes no missing or infinite values")
    with torch.inference_mode(), limited_threads(1):
        parts = [
            outputs_of(module, torch.from_numpy(np.array(encoded[start : start + _ROWS])), network, task)
            for start in range(0, len(encoded), _ROWS)
        ]
        return torch.cat(parts).numpy()


def outputs_of(module: Any, rows: Any, network: Network, task: Task) -> Any:
    """What a module says of rows, as probabilities or values."""
    raw = network.ask(module, rows)
    if task == "binary":
        return raw.squeeze(-1).sigmoid()
    if task == "multiclass":
        return raw.softmax(dim=-1)
    return raw.squeeze(-1) * network.scale + network.center
