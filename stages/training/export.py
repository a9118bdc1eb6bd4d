"""Models as ONNX graphs, which other languages and runtimes read; exported only if they answer as before."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import require_rows
from stages.training.formats import onnx_graph, safetensors_weights, skops_archive
from stages.training.model_file import ModelFile


@dataclass(frozen=True)
class Exported:
    """A model as a graph.

    Attributes:
        largest_difference: Between the predictions of model and graph.
        rows: How many rows both predicted.
    """

    model: ModelFile
    largest_difference: float
    rows: int


@stage(cache="30d", timeout="30m")
def export_onnx(model: ModelFile, table: pa.Table, tolerance: float = 1e-4) -> Exported:
    """Turn a model of scikit-learn or PyTorch into an ONNX graph.

    Graphs count in double precision where ONNX Runtime can, else in single precision.

    Args:
        table: Raw rows that both predict.
        tolerance: Largest difference of a prediction that is let pass.

    Raises:
        NotFound, DataRejected: the table has no rows, or they are none that the model can predict.
        ConfigError: the model has no ONNX form, a package is missing, or the graph answers otherwise.
    """
    require_rows(table, "The table given to export_onnx")
    if model.format not in _CONVERTERS:
        raise ConfigError(
            f"{model.estimator} is kept as {model.format}, which is not exported to ONNX; of "
            f"{' and '.join(_CONVERTERS)} models can be."
        )
    graph = replace(model, format="onnx", data=_CONVERTERS[model.format](model))
    difference = float(np.abs(graph.predict(table) - model.predict(table)).max())
    if not difference <= tolerance:
        raise ConfigError(
            f"As an ONNX graph {model.estimator} answers otherwise, by up to {difference:.3g} in {table.num_rows} "
            f"rows, where {tolerance:g} is allowed; serve it in its own format, or pass a larger tolerance."
        )
    return Exported(graph, difference, table.num_rows)


def _of_sklearn(model: ModelFile) -> bytes:
    try:
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    except ImportError as error:
        raise _missing(error) from None
    estimator = skops_archive.loaded(model.data)
    options = None if model.task == "regression" else {id(estimator): {"zipmap": False}}
    width = len(model.features.names)
    for number in (DoubleTensorType, FloatTensorType):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of operators that are newer than what is exported
                found = to_onnx(estimator, initial_types=[(onnx_graph.INPUT, number([None, width]))], options=options)
            data = bytes(found.SerializeToString())
            onnx_graph.loaded(data)
        except Exception as error:  # whatever its converters and the runtime raise for what they do not know
            reason = f"{type(error).__name__}: {str(error)[:200]}"
        else:
            return data
    raise ConfigError(f"{model.estimator} has no ONNX form: {reason}")


def _of_network(model: ModelFile) -> bytes:
    torch = safetensors_weights.torch_package()
    network, module = safetensors_weights.loaded(model.data)

    class Answering(torch.nn.Module):  # type: ignore[name-defined, misc]
        """The module with what makes its outputs predictions."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, rows: Any) -> Any:
            return safetensors_weights.outputs_of(self.module, rows, network, model.task)

    target = io.BytesIO()
    example = torch.zeros((2, len(model.features.names)), dtype=torch.float64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the newer exporter, which needs another package
            torch.onnx.export(
                Answering().eval(), (example,), target, dynamo=False, input_names=[onnx_graph.INPUT],
                output_names=["answers"], dynamic_axes={onnx_graph.INPUT: {0: "count"}, "answers": {0: "count"}},
            )  # fmt: skip
    except ImportError as error:
        raise _missing(error) from None
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise ConfigError(f"{model.estimator} has no ONNX form: {str(error)[:200]}") from None
    return target.getvalue()


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(f"A package for ONNX is missing ({error}); install: pip install 'ray-orchestrator[onnx]'")


_CONVERTERS: Mapping[str, Callable[[ModelFile], bytes]] = {"skops": _of_sklearn, "safetensors": _of_network}
