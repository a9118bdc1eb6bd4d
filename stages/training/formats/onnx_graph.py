"""ONNX, run by ONNX Runtime: for models that are to leave Python. A graph of operators, without code of anyone's.

A graph is read from memory alone: one that keeps weights in other files is refused.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from orchestrator.errors import ConfigError
from stages.columns import Floats
from stages.training.target import Task

INPUT = "rows"
"""What a graph calls its input; the answers are its last output."""


def predict(data: bytes, encoded: Floats, task: Task) -> Any:
    """Predictions of encoded rows; see ``FORMATS``."""
    session = loaded(data)
    number = np.float64 if session.get_inputs()[0].type == "tensor(double)" else np.float32
    answers = np.asarray(session.run(None, {INPUT: encoded.astype(number)})[-1])
    if task == "multiclass":
        return answers
    return answers[:, 1] if answers.ndim == 2 and answers.shape[1] == 2 else answers.reshape(-1)


@lru_cache(maxsize=8)
def loaded(data: bytes) -> Any:
    """A session of ONNX Runtime with one thread.

    Raises:
        ConfigError: the bytes are no graph that can be run, or the package is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"ONNX Runtime cannot be imported ({error}); install: pip install 'ray-orchestrator[onnx]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have nothing else in common
        raise ConfigError(f"The model's data is no ONNX graph that can be run: {str(error)[:200]}") from None
    if [entry.name for entry in session.get_inputs()] != [INPUT]:
        raise ConfigError(f"The ONNX graph has other inputs than {INPUT!r}; it was not exported here.")
    return session
