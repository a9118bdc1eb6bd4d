"""The journal in a SQL database: facts, chunks, snapshots, inbox, cache, and the index of runs.

``open_journal`` is the way in. SQL lives in this package only; what one database does differently from another is
in ``sqlite.py``, everything else is SQLAlchemy Core.
"""

from orchestrator.store.journal import SqlJournal, open_journal

__all__ = ["SqlJournal", "open_journal"]
