"""Leases, trigger keys, and the random ids that tell whether a transaction was committed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("run", sa.Column("trigger_key", TEXT))
    op.add_column("run", sa.Column("attempt", TEXT, nullable=False, server_default=""))
    op.create_index("run_of_key", "run", ["trigger_key"], unique=True)
    op.add_column("inbox", sa.Column("attempt", TEXT, nullable=False, server_default=""))
    op.create_table(
        "lease",
        sa.Column("run", TEXT, sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("driver", TEXT, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("token", TEXT, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
