"""Promotions of model versions: who moved which one where, when, why and past which checks."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "promotion",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("before", TEXT, nullable=False),
        sa.Column("to_stage", TEXT, nullable=False),
        sa.Column("replaced", sa.Integer),
        sa.Column("who", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("checks", sa.LargeBinary, nullable=False),
        sa.Column("forced", sa.Boolean, nullable=False),
        sa.Column("alias", TEXT, nullable=False),
        sa.Column("run", TEXT, nullable=False),
    )
