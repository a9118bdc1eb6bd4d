"""The journal in a SQL database: facts, chunks, snapshots, inbox, cache, and the index of runs.

``open_journal`` is the way in. SQL lives in this package only; what one database does differently from another is
in ``sqlite.py`` and ``postgres.py``, everything else is SQLAlchemy Core.
"""

from orchestrator.store.journal import SqlJournal
from orchestrator.store.opening import open_database, open_journal

__all__ = ["SqlJournal", "open_database", "open_journal"]
