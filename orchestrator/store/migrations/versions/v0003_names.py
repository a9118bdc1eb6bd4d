"""Named versions of data sets and models, their tags, and the cursors of pipelines."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "cursor",
        sa.Column("pipeline", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("run", TEXT, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "named",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("newest", sa.Integer, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
    )
    op.create_table(
        "published",
        sa.Column("name", TEXT, sa.ForeignKey("named.name"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("cell", sa.LargeBinary, nullable=False),
        sa.Column("run", TEXT, nullable=False),
        sa.Column("node", TEXT, nullable=False),
        sa.Column("item", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "published_tag",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("tag", TEXT, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.ForeignKeyConstraint(["name", "number"], ["published.name", "published.number"]),
    )
