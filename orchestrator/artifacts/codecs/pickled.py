"""``pickle``: everything else, signed, so that only bytes written with the store's key are ever unpickled.

Plain pickle comes first and refers to classes and functions by their path; cloudpickle takes what has no path (lambdas,
local classes) along by value. Open files and memory views are refused: cloudpickle would silently store a copy of their
content, as another type.
"""

from __future__ import annotations

import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar, NoReturn

from orchestrator.artifacts.blame import blame
from orchestrator.artifacts.codec import Codec, Decoding, Encoded, Encoding, Unencodable
from orchestrator.artifacts.describe import INTERRUPTS, ask, error_text
from orchestrator.artifacts.registry import LAST
from orchestrator.artifacts.signing import SIGNATURE_BYTES
from orchestrator.errors import ArtifactUnreadable, SignatureInvalid
from orchestrator.ports.values import Loaded

_MAGIC = b"ORCPKL1\0"
_PROTOCOL = 5


class PickleCodec(Codec):
    """Any object that pickle or cloudpickle takes."""

    name = "pickle"
    order = LAST

    def encode(self, value: Any, encoding: Encoding) -> Encoded:
        """Magic, signature and pickle.

        Raises:
            Unencodable: it cannot be pickled; names the part to blame.
        """
        try:
            parts = pickle_parts(value, encoding.resolve)
        except INTERRUPTS:
            raise
        except BaseException as error:
            at, reason = blame(value, error, lambda part: discard_pickle(part, encoding.resolve))
            raise Unencodable(at, reason) from error
        return Encoded((_MAGIC, encoding.signer.sign(parts), *parts))

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """The object, after its signature was checked.

        Raises:
            SignatureInvalid: it was not written with this store's key; nothing was unpickled.
            ArtifactUnreadable: a class or module that it needs is missing here.
        """
        start = len(_MAGIC) + SIGNATURE_BYTES
        if len(data) < start or data[: len(_MAGIC)] != _MAGIC:
            raise SignatureInvalid(f"a stored {path} claims to be a signed pickle and is none; it is not loaded")
        decoding.signer.verify(data[len(_MAGIC) : start], data[start:])
        try:
            return Loaded(pickle.loads(data[start:]), False)
        except INTERRUPTS:
            raise
        except BaseException as error:
            raise ArtifactUnreadable(f"a stored {path} cannot be rebuilt here: {error_text(error)}") from error


CODEC = PickleCodec()


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"cannot pickle {type(value).__name__!r} object")


_REFUSED = {io.TextIOWrapper: _refuse, memoryview: _refuse}


def pickle_parts(value: object, resolve: Callable[[str], Any]) -> list[bytes]:
    """A pickle in pieces, so that large buffers are not copied together."""
    parts: list[bytes] = []
    _dump(value, parts.append, resolve)
    return parts


def discard_pickle(value: object, resolve: Callable[[str], Any]) -> None:
    """Pickle a value only to see whether that works."""
    _dump(value, len, resolve)


class _Sink:
    """The part of a file that picklers write to."""

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self.write = write


def _dump(value: object, write: Callable[[bytes], Any], resolve: Callable[[str], Any]) -> None:
    whole: list[bytes] = []
    try:
        pickle.Pickler(_Sink(whole.append), _PROTOCOL).dump(value)
    except INTERRUPTS:
        raise
    except RecursionError:
        raise
    except BaseException:
        whole.clear()
        _by_value_pickler(_Sink(whole.append), resolve).dump(value)
    for part in whole:
        write(part)


def _by_value_pickler(sink: _Sink, resolve: Callable[[str], Any]) -> Any:
    import cloudpickle

    class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
        dispatch_table: ClassVar[Any] = ChainMap(_REFUSED, cloudpickle.Pickler.dispatch_table)

        def reducer_override(self, obj: Any) -> Any:
            """Keep by reference what has a path: a copied class would not be the class that the reader knows."""
            if issubclass(type(obj), type | FunctionType):
                path = f"{obj.__module__}:{obj.__qualname__}"
                if "<" not in path and ask(resolve, path) is obj:
                    return NotImplemented
            return super().reducer_override(obj)

    return ByValuePickler(sink, _PROTOCOL)
