"""``npy``: NumPy arrays without objects, in NumPy's own file format, and ``numpy_scalar``: single NumPy values.

Arrays are read as views of the stored bytes, so several processes of a node share one memory map; such
views cannot be written to. Arrays of objects, records or with dtype metadata are left to the pickle codec.
"""

from __future__ import annotations

import io
from typing import Any

import msgspec

from orchestrator.artifacts.codec import Codec, Decoding, Encoded, Encoding
from orchestrator.artifacts.describe import TIMES
from orchestrator.ports.values import Loaded

_KINDS = "biufcmMSU"
_PREFIX = 10
"""Bytes before the header of a version 1.0 file: magic, version, length of the header."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, bytes]).decode


class NpyCodec(Codec):
    """Arrays."""

    name = "npy"
    roots = ("numpy",)

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """The file's header and the array's own memory; an array with gaps is copied."""
        import numpy as np

        if type(value) is not np.ndarray or not _is_simple(value.dtype):
            return None
        array: Any = value if value.flags.c_contiguous or value.flags.f_contiguous else np.ascontiguousarray(value)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
        flat = array.T if not array.flags.c_contiguous else array
        return Encoded((header.getvalue(), flat.reshape(-1).view(np.uint8).data))

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """A read-only view of the bytes."""
        import numpy as np

        header_end = _PREFIX + int.from_bytes(data[8:_PREFIX], "little")
        header = io.BytesIO(data[:header_end])
        np.lib.format.read_magic(header)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(header)
        order: Any = "F" if fortran else "C"
        if 0 in shape:
            array: Any = np.empty(shape, dtype, order=order)
            array.flags.writeable = False
        else:
            array = np.frombuffer(data, dtype=dtype, offset=header_end).reshape(shape, order=order)
        return Loaded(array, True)

    def preview(self, value: Any) -> str:
        """Class, shape and dtype."""
        shape = TIMES.join(map(str, value.shape)) or "scalar"
        return f"ndarray {shape} {value.dtype}"


class NumpyScalarCodec(Codec):
    """NumPy's own numbers, dates and strings."""

    name = "numpy_scalar"
    roots = ("numpy",)

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """The dtype and the bytes, if they lead back to the same class."""
        import numpy as np

        if not isinstance(value, np.generic) or not _is_simple(value.dtype):
            return None
        dtype = np.dtype(value.dtype.str)
        if dtype.type is not type(value):
            return None
        return Encoded((_encode((dtype.str, np.asarray(value).tobytes())),))

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """The value."""
        import numpy as np

        name, content = _decode(data)
        return Loaded(np.frombuffer(content, dtype=np.dtype(name))[0], True)

    def preview(self, value: Any) -> str:
        """``float32 0.5``."""
        return f"{value.dtype} {value}"


CODECS = (NpyCodec(), NumpyScalarCodec())


def _is_simple(dtype: Any) -> bool:
    return dtype.kind in _KINDS and dtype.itemsize > 0 and dtype.metadata is None
