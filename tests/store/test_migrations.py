"""Opening databases that are new, older, newer, or something else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, text

from orchestrator.errors import ConfigError, JournalCorrupt, SchemaTooNew, StoreUnavailable
from orchestrator.store import SqlJournal, open_database, open_journal
from orchestrator.store.migrations import alembic_config
from orchestrator.store.schema import HEAD, metadata, version
from orchestrator.store.sqlite import dbapi
from tests.store.backend import Backend, PostgresBackend, append, facts, row

ROOT = Path(__file__).parents[2]
OLD_RUN = (
    "INSERT INTO run (id, pipeline, state, seq, epoch, created_at, driver) VALUES ('r1', 'p', 'queued', 0, 0, 1, '')"
)


def engine_of(path: Path) -> Engine:
    return create_engine(URL.create("sqlite", database=str(path)), module=dbapi)


def schema_of(path: Path) -> list[tuple[str, ...]]:
    """Tables and indexes as SQLite describes them, whatever the order or layout of their text."""
    tables: list[tuple[str, ...]] = []
    with engine_of(path).connect() as connection:
        names = connection.execute(text("SELECT name, type FROM sqlite_master ORDER BY type, name")).all()
        for name, kind in names:
            pragma = "index_xinfo" if kind == "index" else "table_xinfo"
            columns = connection.execute(text(f"PRAGMA {pragma}('{name}')")).all()
            keys = connection.execute(text(f"PRAGMA foreign_key_list('{name}')")).all()
            options = connection.execute(text(f"PRAGMA table_list('{name}')")).all()
            tables.append((name, kind, str(columns), str(keys), str(options)))
    return tables


def test_migrations_lead_to_the_tables_that_a_fresh_database_has(tmp_path: Path) -> None:
    open_journal(f"sqlite:///{tmp_path / 'fresh.db'}").close()
    engine = engine_of(tmp_path / "migrated.db")
    with engine.begin() as connection:
        config = alembic_config(connection)
        assert ScriptDirectory.from_config(config).get_heads() == [HEAD]
        command.upgrade(config, "head")
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
    engine.dispose()
    assert schema_of(tmp_path / "migrated.db") == schema_of(tmp_path / "fresh.db")


def test_migrations_on_a_server_lead_to_the_tables_that_a_fresh_database_has(on_server: PostgresBackend) -> None:
    with open_database(on_server.url).write() as connection:
        fresh = columns_of(connection)
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        # The one reference that only SQLite checks.
        assert [(kind, constraint.parent.name) for kind, constraint in differences] == [("add_fk", "fact")]
        for table in [*reversed(metadata.sorted_tables), version]:
            connection.execute(text(f"DROP TABLE {table.name}"))
        command.upgrade(alembic_config(connection), "head")
        assert columns_of(connection) == fresh
        collations = {str(collation) for *_, collation in fresh if collation is not None}
        assert collations == {"C"}


def columns_of(connection: Connection) -> list[tuple[object, ...]]:
    """Columns, indexes and constraints as PostgreSQL describes them."""
    columns = connection.execute(
        text(
            "SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default, collation_name "
            "FROM information_schema.columns WHERE table_schema = 'public' AND table_name != 'alembic_version' "
            "ORDER BY table_name, ordinal_position"
        )
    )
    indexes = connection.execute(
        text(
            "SELECT indexname, indexdef, NULL FROM pg_indexes WHERE schemaname = 'public' "
            "AND tablename != 'alembic_version' ORDER BY 1"
        )
    )
    constraints = connection.execute(
        text(
            "SELECT conname, pg_get_constraintdef(oid), NULL FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace AND conrelid != 'alembic_version'::regclass ORDER BY 1"
        )
    )
    return [tuple(row) for row in (*columns, *indexes, *constraints)]


def test_a_server_is_upgraded_from_the_first_schema(on_server: PostgresBackend) -> None:
    on_server.open().close()
    database = open_database(on_server.url)
    with database.write() as connection:
        for table in [*reversed(metadata.sorted_tables), version]:
            connection.execute(text(f"DROP TABLE {table.name}"))
        command.upgrade(alembic_config(connection), "0001")
        connection.execute(text(OLD_RUN))
    database.close()
    opened = open_database(on_server.url)
    assert opened.found == "0001"
    opened.close()
    journal = on_server.open()
    assert journal.append(append(journal.own("r1", "me").epoch, 0, facts(2))) == 2


def test_an_upgraded_sqlite_file_keeps_its_runs(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = engine_of(path)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
        connection.execute(text(OLD_RUN))
    engine.dispose()
    journal = open_journal(f"sqlite:///{path}")
    assert journal.append(append(journal.own("r1", "me").epoch, 0, facts(2))) == 2
    assert journal.run("r1").trigger_key is None
    journal.close()


def test_a_newer_or_foreign_database_on_a_server_is_refused(on_server: PostgresBackend) -> None:
    on_server.server.execute("CREATE TABLE customer (id int)", on_server.name)
    with pytest.raises(ConfigError, match="has a table 'customer'"):
        on_server.open()
    on_server.server.execute("DROP TABLE customer", on_server.name)
    on_server.open().close()
    on_server.harm("UPDATE alembic_version SET version_num = '9000'")
    with pytest.raises(SchemaTooNew, match=f"schema 9000, this one knows {HEAD}"):
        on_server.open()


def test_an_older_database_is_upgraded_and_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = engine_of(path)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0000')"))
    engine.dispose()
    with pytest.raises(JournalCorrupt, match=r"cannot be upgraded: .*0000"):
        open_journal(f"sqlite:///{path}")
    engine = engine_of(path)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    engine.dispose()
    journal = open_journal(f"sqlite:///{path}")
    journal.create(row(), facts(1), {})
    assert journal.append(append(0, 1, facts(1))) == 2
    journal.close()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    open_journal(f"sqlite:///{path}").close()
    engine = engine_of(path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9000'"))
    engine.dispose()
    with pytest.raises(SchemaTooNew, match=f"schema 9000, this one knows {HEAD}"):
        open_journal(f"sqlite:///{path}")


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    engine = engine_of(path)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE customer (id)"))
    engine.dispose()
    with pytest.raises(ConfigError, match="has a table 'customer'"):
        open_journal(f"sqlite:///{path}")
    assert [name for name, *_ in schema_of(path)] == ["customer"]


@pytest.mark.parametrize(
    "content", [b"hello world, this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(JournalCorrupt, match=r"notes\.txt is damaged or no journal"):
        open_journal(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="folder"):
        open_journal(f"sqlite:///{tmp_path / 'file' / 'journal.db'}")
    with pytest.raises(StoreUnavailable):
        open_journal(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://h/d", "journal.db", "sqlite:///a\0b"]
)
def test_an_address_that_is_no_journal(url: str) -> None:
    with pytest.raises(ConfigError, match="set ORC_STORE to sqlite:///"):
        open_journal(url)


@pytest.mark.parametrize("name", ["plain", "with blank", "100%25?mode=ro#x", "ünïcode", "deep/er/still"])
def test_the_path_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    journal = open_journal(f"sqlite:///{tmp_path}/{name}/journal.db")
    journal.create(row(), [], {})
    ownership = journal.own("r1", "me")
    ownership.release()
    journal.close()
    assert (tmp_path / name / "journal.db").is_file()


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    journal = open_journal("sqlite:///journal.db")
    os.chdir("/")
    journal.create(row(), [], {})
    journal.close()
    assert (tmp_path / "journal.db").is_file()


def test_many_open_a_new_database_at_once(backend: Backend) -> None:
    journals: list[SqlJournal] = []
    failures: list[BaseException] = []

    def begin(number: int) -> None:
        try:
            journals.append(backend.open())
            journals[-1].create(row(f"r{number}"), facts(1), {})
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(journals[0].runs()) == 8


def test_processes_open_a_new_database_at_once(tmp_path: Path) -> None:
    program = "import sys; from orchestrator.store import open_journal; open_journal(sys.argv[1]).close()"
    call = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/journal.db"]
    processes = [subprocess.Popen(call, cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]


def test_alembic_is_not_imported_to_open_a_journal(tmp_path: Path) -> None:
    program = (
        "import sys; from orchestrator.store import open_journal; open_journal(sys.argv[1]).close();"
        "print({'alembic', 'ray', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    call = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/journal.db"]
    assert subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "set()\n"
