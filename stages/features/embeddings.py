"""Text to numbers by what it means: a sentence-transformers model from a folder, without any network.

A model is loaded once a worker. ``embed`` makes a column of vectors; the plan's step ``embedding`` makes number columns
that serving makes again, and knows its model by a digest.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError, NotFound
from stages.columns import Floats, require_columns, set_column, set_numbers, texts
from stages.transforms import InputKind, Transform


@stage(cache="30d", timeout="6h")
def embed(
    table: pa.Table, column: str, model: str, name: str = "embedding", batch_size: int = 64, num_threads: int = 1
) -> pa.Table:
    """Add a column of vectors, one for each text; a missing text has none.

    Args:
        column: Texts. Equal ones are embedded once.
        model: Folder of a sentence-transformers model, or the dotted name of such a path in an installed package, or of
            a function that gives it.
        name: Column of the vectors, a fixed-size list of float32; takes the place of one of that name.
        batch_size: Texts that go through the model at once.
        num_threads: Threads; declare ``num_cpus`` to match.

    Raises:
        NotFound: the column or the folder is missing.
        DataRejected: the column is not text.
        ConfigError: the folder holds no such model, or sentence-transformers is missing.
    """
    require_columns(table.column_names, [column], "The table given to embed")
    distinct = pc.dictionary_encode(texts(table.column(column), column))
    if batch_size < 1 or num_threads < 1:
        raise ConfigError(f"embed cannot work with {batch_size=}, {num_threads=}")
    vectors = _vectors(distinct.dictionary, loaded(model, False), batch_size, num_threads).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    return set_column(table, name, lists.take(distinct.indices))


@dataclass(frozen=True)
class Embedding(Transform):
    """Vectors of one text column, in double precision: alone or in a batch a text has the same one.

    Attributes:
        model: See ``embed``; it has to be there where rows are predicted.
        digest: Of the model's weights.
        width: Numbers of a vector.
    """

    model: str
    digest: str
    width: int

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Text."""
        return dict.fromkeys(self.columns, "text")

    @property
    def makes(self) -> list[str]:
        """``column~0``, ``column~1``, …"""
        return [f"{self.columns[0]}~{place}" for place in range(self.width)]

    def apply(self, table: pa.Table) -> pa.Table:
        """Add the numbers of each text's vector; those of a missing text are missing."""
        (name,) = self.columns
        require_columns(table.column_names, [name], self.place)
        found = loaded(self.model, True)
        if found.digest != self.digest:
            raise ConfigError(
                f"The model at {self.model!r} has the digest {found.digest}, but the plan was fitted with "
                f"{self.digest}; put that model there, or fit the plan again."
            )
        distinct = pc.dictionary_encode(texts(table.column(name), name))
        vectors = np.vstack([_vectors(distinct.dictionary, found, 64, 1), np.full((1, self.width), np.nan)])
        places = pc.fill_null(distinct.indices, len(distinct.dictionary)).to_numpy(zero_copy_only=False)
        for position, made in enumerate(self.makes):
            table = set_numbers(table, made, vectors[places, position])
        return table


def fit_embedding(table: pa.Table, column: str, model: str) -> Embedding:
    """Take a text column's vectors; nothing is learned, only column and model are checked.

    Raises:
        NotFound, DataRejected, ConfigError: as ``embed``.
    """
    require_columns(table.column_names, [column], "The table of fit_embedding")
    texts(table.column(column), column)
    found = loaded(model, True)
    return Embedding([column], model, found.digest, found.width)


@dataclass(frozen=True)
class Loaded:
    """A model in this process."""

    encoder: Any
    digest: str
    width: int


@lru_cache(maxsize=2)
def loaded(model: str, double: bool) -> Loaded:
    """The model of a folder, on the GPU where this step has one.

    Raises:
        NotFound: there is no such folder.
        ConfigError: it holds no such model, or sentence-transformers is missing.
    """
    folder = folder_of(model)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ConfigError(
            f"sentence-transformers cannot be imported ({error}); install: pip install 'ray-orchestrator[text]'"
        ) from None
    try:
        encoder = SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(f"{folder} holds no sentence-transformers model: {str(error)[:200]}") from None
    if double:
        encoder = encoder.double()
    return Loaded(encoder, _digest(folder), int(encoder.get_embedding_dimension()))


def folder_of(model: str) -> Path:
    """The folder behind a path or a dotted name.

    Raises:
        NotFound: there is none.
    """
    if Path(model).is_dir():
        return Path(model)
    module_name, _, attribute = model.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
        path = Path(found() if callable(found) else found)
    except (ImportError, AttributeError, TypeError, ValueError):
        path = Path(model)
    if not path.is_dir():
        raise NotFound(f"{model!r} is no folder with a model, nor the dotted name of one.", model=model)
    return path


def _digest(folder: Path) -> str:
    """Of all weights in a folder, whatever their format."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".safetensors", ".bin", ".json", ".txt") and file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()


def _vectors(distinct: Any, model: Loaded, batch_size: int, num_threads: int) -> Floats:
    """The vectors of texts: shape (texts, width)."""
    import torch

    if not len(distinct):
        return np.empty((0, model.width))
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        found = model.encoder.encode(distinct.to_pylist(), batch_size=batch_size, show_progress_bar=False)
    finally:
        torch.set_num_threads(before)
    return np.asarray(found, dtype=np.float64)
