"""The journal in a SQL database: facts, chunks, snapshots, inbox, cache, and the index of runs.

``open_journal`` is the way in. SQL lives in this package only; what one database does differently from another is
in ``sqlite.py`` and ``postgres.py``, everything else is SQLAlchemy Core.
"""

from orchestrator.store.journal import SqlJournal
from orchestrator.store.opening import is_server, open_database, open_journal
from orchestrator.store.sqlite import path_of

__all__ = ["SqlJournal", "is_server", "open_database", "open_journal", "path_of"]
