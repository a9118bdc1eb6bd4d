"""LightGBM's trees for prediction only, through its C interface (lightgbm.readthedocs.io, "C API").

Its Python package imports scikit-learn, SciPy's statistics and pandas with it: one to two seconds and 100 MB in each
replica that only predicts. The library below is the same one, so answers are equal to the last bit.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from orchestrator.errors import ConfigError
from stages.columns import Floats

_FLOAT64, _BY_ROWS, _NORMAL, _ALL_TREES = 1, 1, 0, -1
_PARAMETERS = b"num_threads=1"
_PLACES = ("lib", "bin", "..")
_NAMES = ("lib_lightgbm.so", "lib_lightgbm.dylib", "lib_lightgbm.dll")


class Booster:
    """A model in LightGBM's text format. Several threads may ask it at the same time.

    Raises:
        ConfigError: the text is no such model.
        ModuleNotFoundError: LightGBM is not installed.
    """

    def __init__(self, text: bytes) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p()
        trees = ctypes.c_int()
        self._call("BoosterLoadModelFromString", text, ctypes.byref(trees), ctypes.byref(self._handle))

    def predict(self, encoded: Floats) -> Floats:
        """Predictions of rows (rows, inputs): (rows,), or (rows, classes) if there are more than two."""
        rows = np.ascontiguousarray(encoded, dtype=np.float64)
        if not len(rows):
            return np.empty(0)
        length = ctypes.c_int64()
        whole = (_NORMAL, 0, _ALL_TREES)
        self._call("BoosterCalcNumPredict", self._handle, len(rows), *whole, ctypes.byref(length))
        found = np.empty(length.value)
        self._call(
            "BoosterPredictForMat", self._handle, rows.ctypes.data_as(ctypes.c_void_p), _FLOAT64, *rows.shape, _BY_ROWS,
            *whole, _PARAMETERS, ctypes.byref(length), found.ctypes.data_as(ctypes.c_void_p),
        )  # fmt: skip
        return found if len(found) == len(rows) else found.reshape(len(rows), -1)

    def __del__(self) -> None:
        """Its memory is not Python's."""
        if getattr(self, "_handle", None):
            self._library.LGBM_BoosterFree(self._handle)

    def _call(self, name: str, *arguments: object) -> None:
        if getattr(self._library, f"LGBM_{name}")(*arguments):
            raise ConfigError(
                f"The model is no LightGBM text for these inputs: {self._library.LGBM_GetLastError().decode()}"
            )


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """LightGBM's library, where its package keeps it."""
    spec = find_spec("lightgbm")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'lightgbm'", name="lightgbm")
    package = Path(spec.origin).parent
    found = [file for place in _PLACES for name in _NAMES if (file := package / place / name).is_file()]
    if not found:
        raise ModuleNotFoundError(f"{package} has no library of LightGBM; install lightgbm anew", name="lightgbm")
    library = ctypes.CDLL(str(found[0]))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library
