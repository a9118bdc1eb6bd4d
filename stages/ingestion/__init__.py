"""Getting data in: files on any file system, and real data sets from installed packages."""

from stages.ingestion.datasets import dataset
from stages.ingestion.files import read

__all__ = ["dataset", "read"]
