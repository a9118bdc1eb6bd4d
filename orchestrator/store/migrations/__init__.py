"""Bring a database to the current tables: fresh ones are made in one go, older ones upgraded by alembic.

A new migration is the next number under ``versions/``, together with the change of ``schema.py`` and its ``HEAD``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, inspect, select

from orchestrator.errors import ConfigError, JournalCorrupt, SchemaTooNew
from orchestrator.store.schema import HEAD, metadata, version

if TYPE_CHECKING:
    from alembic.config import Config


def revision(connection: Connection, name: str) -> str | None:
    """The migration that a database stands at; None if it is empty.

    Raises:
        ConfigError: the database belongs to something else.
    """
    tables = set(inspect(connection).get_table_names())
    others = sorted(tables - {version.name})
    if others and not tables >= {version.name, "run", "fact"}:
        raise ConfigError(f"{name} is a database of something else (it has a table {others[0]!r}); choose another file")
    if version.name not in tables:
        return None
    return connection.execute(select(version.c.version_num)).scalar_one_or_none() or ""


def prepare(connection: Connection, present: str | None, name: str) -> None:
    """Make the tables of an empty database, or upgrade those of an older one, in the connection's transaction.

    Raises:
        SchemaTooNew: a newer release wrote the database.
        JournalCorrupt: no release wrote it.
    """
    if present is None:
        metadata.create_all(connection, checkfirst=False)
        version.create(connection, checkfirst=False)
        connection.execute(insert(version).values(version_num=HEAD))
    elif present < HEAD:
        # Only here: alembic costs more to import than everything else that opening a journal needs.
        from alembic import command
        from alembic.util import CommandError

        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            raise JournalCorrupt(f"{name} cannot be upgraded: {error}; restore it from a backup") from error
    elif present > HEAD:
        raise SchemaTooNew(
            f"{name} was written by a newer release (schema {present}, this one knows {HEAD}); "
            "upgrade with: pip install --upgrade ray-orchestrator"
        )


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings for the scripts in this package, run on an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
