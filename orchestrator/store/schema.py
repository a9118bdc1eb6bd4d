"""Tables of the journal.

Migrations lead to exactly these (a test compares them); ``HEAD`` is the newest one. Times are wall-clock seconds.
Ids are ordered by code point in every database, which the search by a beginning of an id relies on.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

HEAD = "0004"
"""Newest migration under ``migrations/versions``; they are numbered upwards."""

metadata = MetaData()

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""SQLite orders by code point anyway; PostgreSQL would order as people in some country do."""

run = Table(
    "run",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("pipeline", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("driver", TEXT, nullable=False),
    Column("trigger_key", TEXT),
    # Random id of the transaction that last moved the run: tells whoever lost the answer to a COMMIT what became of it.
    Column("attempt", TEXT, nullable=False, server_default=""),
    Index("run_by_age", "created_at"),
    Index("run_by_pipeline", "pipeline", "created_at"),
    Index("run_by_state", "state", "created_at"),
    Index("run_of_key", "trigger_key", unique=True),
)

lease = Table(
    "lease",
    metadata,
    # Who drives a run, and until when on the database's clock. Apart from the run, so that a heartbeat never waits
    # for a commit. Databases whose owners hold kernel locks leave it empty.
    Column("run", TEXT, ForeignKey("run.id"), primary_key=True),
    Column("driver", TEXT, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("token", TEXT, nullable=False),
    Column("expires_at", Double, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("run", TEXT, ForeignKey("run.id"), primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
)

fact = Table(
    "fact",
    metadata,
    Column("run", TEXT, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("kind", TEXT, nullable=False),
    Column("at", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # PostgreSQL checks references row by row, which halves the rate of facts; the fence has just touched the run.
    ForeignKeyConstraint(["run"], ["run.id"]).ddl_if(dialect="sqlite"),
    # Facts of a run lie side by side in the primary key's own tree: half the pages of a table plus an index.
    sqlite_with_rowid=False,
)

chunk = Table(
    "chunk",
    metadata,
    Column("run", TEXT, ForeignKey("run.id"), primary_key=True),
    Column("digest", TEXT, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("run", TEXT, ForeignKey("run.id"), primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("digest", TEXT, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

inbox = Table(
    "inbox",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("run", TEXT, ForeignKey("run.id"), nullable=False),
    Column("key", TEXT, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
    # A request that was taken stays as a key, so that the same key is never accepted again.
    Column("taken", Boolean, nullable=False),
    Column("attempt", TEXT, nullable=False, server_default=""),
    Index("inbox_once", "run", "key", unique=True),
)

cache = Table(
    "cache",
    metadata,
    Column("key", TEXT, primary_key=True),
    # No foreign key: an entry may outlive the run that made it, and a lost chunk is only a cache miss.
    Column("run", TEXT, nullable=False),
    Column("chunk", TEXT, nullable=False),
    Column("at", Integer, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("stage", TEXT, nullable=False),
    Column("parts", LargeBinary, nullable=False),
    Column("written_at", Double, nullable=False),
    Index("cache_by_stage", "stage", "written_at"),
)

cursor = Table(
    "cursor",
    metadata,
    Column("pipeline", TEXT, primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    Column("version", Integer, nullable=False),
    # No foreign keys from here on to runs: cursors and versions outlive the runs that made them.
    Column("run", TEXT, nullable=False),
    Column("at", Double, nullable=False),
)

named = Table(
    "named",
    metadata,
    Column("name", TEXT, primary_key=True),
    Column("newest", Integer, nullable=False),
    Column("digest", TEXT, nullable=False),
)

published = Table(
    "published",
    metadata,
    Column("name", TEXT, ForeignKey("named.name"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("digest", TEXT, nullable=False),
    Column("cell", LargeBinary, nullable=False),
    Column("run", TEXT, nullable=False),
    Column("node", TEXT, nullable=False),
    Column("item", Integer, nullable=False),
    Column("at", Double, nullable=False),
)

published_tag = Table(
    "published_tag",
    metadata,
    Column("name", TEXT, primary_key=True),
    Column("tag", TEXT, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("at", Double, nullable=False),
    ForeignKeyConstraint(["name", "number"], ["published.name", "published.number"]),
)

promotion = Table(
    "promotion",
    metadata,
    # No foreign key: who promoted a version, when and why is known for longer than the version itself.
    Column("name", TEXT, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("before", TEXT, nullable=False),
    Column("to_stage", TEXT, nullable=False),
    Column("replaced", Integer),
    Column("who", TEXT, nullable=False),
    Column("why", TEXT, nullable=False),
    Column("at", Double, nullable=False),
    Column("checks", LargeBinary, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("alias", TEXT, nullable=False),
    Column("run", TEXT, nullable=False),
)

version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Alembic's own table, written here when a fresh database is made without it."""
