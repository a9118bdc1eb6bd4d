"""The journal's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "run",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("pipeline", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("driver", TEXT, nullable=False),
    )
    op.create_index("run_by_age", "run", ["created_at"])
    op.create_index("run_by_pipeline", "run", ["pipeline", "created_at"])
    op.create_index("run_by_state", "run", ["state", "created_at"])
    op.create_table(
        "tags",
        sa.Column("run", TEXT, sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("value", TEXT, nullable=False),
    )
    op.create_table(
        "fact",
        sa.Column("run", TEXT, primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["run.id"]).ddl_if(dialect="sqlite"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "chunk",
        sa.Column("run", TEXT, sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "snapshot",
        sa.Column("run", TEXT, sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    _create_inbox_and_cache()


def _create_inbox_and_cache() -> None:
    op.create_table(
        "inbox",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run", TEXT, sa.ForeignKey("run.id"), nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("taken", sa.Boolean, nullable=False),
    )
    op.create_index("inbox_once", "inbox", ["run", "key"], unique=True)
    op.create_table(
        "cache",
        sa.Column("key", TEXT, primary_key=True),
        sa.Column("run", TEXT, nullable=False),
        sa.Column("chunk", TEXT, nullable=False),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("stage", TEXT, nullable=False),
        sa.Column("parts", sa.LargeBinary, nullable=False),
        sa.Column("written_at", sa.Double, nullable=False),
    )
    op.create_index("cache_by_stage", "cache", ["stage", "written_at"])
