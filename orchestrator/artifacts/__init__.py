"""Outputs of steps: content-addressed bytes, the codecs that make them, and their collection."""

from orchestrator.artifacts.codec import Codec, Encoded, Unencodable
from orchestrator.artifacts.errors import item_error_cell, item_error_chunk
from orchestrator.artifacts.files import FileVersions
from orchestrator.artifacts.gc import Collected, collect
from orchestrator.artifacts.local import LocalStore
from orchestrator.artifacts.registry import Registry
from orchestrator.artifacts.signing import Signer
from orchestrator.artifacts.store import open_store
from orchestrator.artifacts.values import StoredValues, resolve

__all__ = [
    "Codec",
    "Collected",
    "Encoded",
    "FileVersions",
    "LocalStore",
    "Registry",
    "Signer",
    "StoredValues",
    "Unencodable",
    "collect",
    "item_error_cell",
    "item_error_chunk",
    "open_store",
    "resolve",
]
