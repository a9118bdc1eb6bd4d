"""Named versions and cursors: what facts did to them, in the facts' own transaction, and looking them up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from orchestrator.errors import CursorElsewhere, NotFound, PromotionRefused
from orchestrator.graph.fact import CursorMoved, Position, TagsMoved, VersionPublished
from orchestrator.graph.handover import TagMove
from orchestrator.graph.version import NEWEST, VersionAddress
from orchestrator.ports.promotion import PROMOTION_TAGS, ModelStage, Promotion, Standing, Wanted
from orchestrator.ports.registry import CursorRow, PublishedVersion
from orchestrator.store import promotions
from orchestrator.store.database import Database
from orchestrator.store.schema import cursor, named, published, published_tag

T = TypeVar("T")

NewRow = Callable[[Any], Any]
"""Makes the database's own insert, which knows conflicts."""

_SHOWN = 5
_PER_READ = 256

_OF_NAME = (named.c.name == bindparam("of_name"),)
_LOCKED = update(named).where(*_OF_NAME).values(newest=named.c.newest).returning(named.c.newest, named.c.digest)
_OF_TAG = (published_tag.c.name == bindparam("of_name"), published_tag.c.tag == bindparam("of_tag"))
_TAGGED = select(published_tag.c.number).where(*_OF_TAG)
_EXISTS = select(published.c.number).where(
    published.c.name == bindparam("of_name"), published.c.number == bindparam("of_number")
)
_STANDS = (
    cursor.c.pipeline == bindparam("of_pipeline"),
    cursor.c.name == bindparam("of_name"),
)
_PAGE = (
    select(published.c.name, published.c.number, published.c.cell)
    .where(
        (published.c.name > bindparam("after_name"))
        | ((published.c.name == bindparam("after_name")) & (published.c.number > bindparam("after_number")))
    )
    .order_by(published.c.name, published.c.number)
    .limit(_PER_READ)
)


def publish(new_row: NewRow, connection: Connection, run: str, fact: VersionPublished, at: float) -> None:
    """Count a version, unless its content is that of the newest one."""
    connection.execute(new_row(named).on_conflict_do_nothing(), {"name": fact.name, "newest": 0, "digest": ""})
    # The row of the name stays locked until the end of the transaction, so that two runs never take one number.
    newest = connection.execute(_LOCKED, {"of_name": fact.name}).one()
    if newest.digest == fact.digest:
        return
    number = newest.newest + 1
    connection.execute(
        insert(published),
        {
            "name": fact.name, "number": number, "digest": fact.digest, "cell": fact.cell, "run": run,
            "node": fact.node, "item": fact.index, "at": at,
        },
    )  # fmt: skip
    connection.execute(update(named).where(*_OF_NAME).values(newest=number, digest=fact.digest), {"of_name": fact.name})


def move(new_row: NewRow, connection: Connection, run: str, fact: CursorMoved, at: float) -> None:
    """Move a cursor from where the run found it.

    Raises:
        CursorElsewhere: another run has moved it since.
    """
    where = {"of_pipeline": fact.pipeline, "of_name": fact.name}
    if fact.version == 0:
        row = {"pipeline": fact.pipeline, "name": fact.name, "value": fact.value, "version": 1, "run": run, "at": at}
        moved = connection.execute(new_row(cursor).on_conflict_do_nothing(), row)
    else:
        moved = connection.execute(
            update(cursor)
            .where(*_STANDS, cursor.c.version == bindparam("believed"))
            .values(value=fact.value, version=cursor.c.version + 1, run=run, at=at),
            where | {"believed": fact.version},
        )
    if moved.rowcount != 1:
        found = connection.execute(select(cursor.c.run).where(*_STANDS), where).scalar_one_or_none()
        by = f"run {found}" if found else "somebody"
        raise CursorElsewhere(
            f"run {run}: {by} moved the cursor {fact.name!r} of {fact.pipeline} on after this run was made, so both "
            "read the same; what this run read does not count. Start a new run, which reads what comes after",
            run=run,
            cursor=fact.name,
        )


def retag(connection: Connection, run: str, fact: TagsMoved, at: float) -> None:
    """Move tags from where they are said to be; the stage of a model goes with a record of that."""
    for change in sorted(fact.moves, key=lambda change: change.name):  # locks are taken in one order
        connection.execute(_LOCKED, {"of_name": change.name})
        place = {"of_name": change.name, "of_tag": change.tag}
        is_there = change.after is None or connection.execute(_EXISTS, place | {"of_number": change.after}).first()
        if not is_there or connection.execute(_TAGGED, place).scalar_one_or_none() != change.before:
            continue
        if change.name.startswith("model:") and change.tag in PROMOTION_TAGS:
            _restage(connection, run, fact.node, change, at)
            continue
        connection.execute(delete(published_tag).where(*_OF_TAG), place)
        if change.after is not None:
            row = {"name": change.name, "tag": change.tag, "number": change.after, "at": at}
            connection.execute(insert(published_tag), row)


def _restage(connection: Connection, run: str, node: str, change: TagMove, at: float) -> None:
    number = change.before if change.after is None else change.after
    if number is None or change.tag not in ("staging", "production"):
        return
    up: ModelStage = "production" if change.tag == "production" else "staging"
    to: ModelStage = "dev" if change.after is None else up
    why = f"handed over by step {node} of run {run}"
    wanted = Wanted(change.name, number, to, f"run {run}", at, why, run=run)
    with contextlib.suppress(PromotionRefused):  # a way up without checks: it stays where it is
        promotions.move(connection, wanted)


def cells_of_versions(database: Database) -> Iterator[tuple[str, bytes]]:
    """Address and cell of every version."""
    name, number = "", 0
    while True:
        with database.read() as connection:
            rows = connection.execute(_PAGE, {"after_name": name, "after_number": number}).all()
        if not rows:
            return
        for row in rows:
            yield f"{row.name}@v{row.number}", row.cell
        name, number = rows[-1].name, rows[-1].number


class SqlRegistry:
    """``ports.registry.Registry`` on the journal's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def positions(self, pipeline: str) -> dict[str, Position]:
        """Where the cursors of a pipeline stand."""
        return {row.name: Position(row.value, row.version) for row in self.cursors(pipeline)}

    def cursors(self, pipeline: str | None = None) -> list[CursorRow]:
        """Cursors, by pipeline and name."""
        query = select(cursor).order_by(cursor.c.pipeline, cursor.c.name)
        if pipeline is not None:
            query = query.where(cursor.c.pipeline == pipeline)
        return self._ask(lambda connection: [CursorRow(**row._mapping) for row in connection.execute(query)])

    def versions(self, name: str | None = None) -> list[PublishedVersion]:
        """Versions by name, newest first."""
        query = select(published).order_by(published.c.name, published.c.number.desc())
        tagged = select(published_tag).order_by(published_tag.c.tag)
        if name is not None:
            query = query.where(published.c.name == name)
            tagged = tagged.where(published_tag.c.name == name)

        def read(connection: Connection) -> list[PublishedVersion]:
            tags: dict[tuple[str, int], list[str]] = {}
            for row in connection.execute(tagged):
                tags.setdefault((row.name, row.number), []).append(row.tag)
            return [_version(row, tags.get((row.name, row.number), [])) for row in connection.execute(query)]

        return self._ask(read)

    def find(self, address: VersionAddress) -> PublishedVersion:
        """One version; raises NotFound, naming what there is."""
        return self._ask(lambda connection: _find(connection, address))

    def tag(self, address: VersionAddress, tag: str, at: float) -> PublishedVersion:
        """Let a tag name this version from now on; see ``Registry.tag``."""
        with self._database.write() as connection:
            number = _find(connection, address).number
            row = self._database.insert(published_tag)
            connection.execute(
                row.on_conflict_do_update(
                    index_elements=["name", "tag"], set_={"number": row.excluded.number, "at": row.excluded.at}
                ),
                {"name": address.name, "tag": tag, "number": number, "at": at},
            )
            return _find(connection, address._replace(which=f"v{number}"))

    def untag(self, name: str, tag: str) -> bool:
        """Take a tag away; False if no version has it."""
        query = delete(published_tag).where(published_tag.c.name == name, published_tag.c.tag == tag)
        with self._database.write() as connection:
            return connection.execute(query).rowcount == 1

    def promote(self, wanted: Wanted) -> Promotion:
        """Move a version and record that; see ``Registry.promote``."""
        with self._database.write() as connection:
            connection.execute(_LOCKED, {"of_name": wanted.name})
            _find(connection, VersionAddress(wanted.name, f"v{wanted.number}"))
            return promotions.move(connection, wanted)

    def standing(self, name: str) -> Standing:
        """Where the versions of a name stand."""
        return self._ask(lambda connection: promotions.standing_of(connection, name))

    def promotions(self, name: str) -> list[Promotion]:
        """Promotions of the versions of a name, newest first."""
        return self._ask(lambda connection: promotions.promotions_of(connection, name))

    def remove(self, name: str, number: int) -> bool:
        """Forget a version; see ``Registry.remove``."""
        tagged = select(published_tag.c.tag).where(published_tag.c.name == name, published_tag.c.number == number)
        with self._database.write() as connection:
            newest = connection.execute(_LOCKED, {"of_name": name}).one_or_none()
            if newest is None or newest.newest == number or connection.execute(tagged).first() is not None:
                return False
            query = delete(published).where(published.c.name == name, published.c.number == number)
            return connection.execute(query).rowcount == 1

    def _ask(self, question: Callable[[Connection], T]) -> T:
        """The answer to a question in a transaction of its own, asked again if the connection was lost."""

        def ask() -> T:
            with self._database.read() as connection:
                return question(connection)

        return self._database.repeat(ask)


def _find(connection: Connection, address: VersionAddress) -> PublishedVersion:
    query = select(published).where(published.c.name == address.name)
    number = address.number
    if number is not None:
        query = query.where(published.c.number == number)
    elif address.which != NEWEST:
        query = query.join(
            published_tag,
            (published_tag.c.name == published.c.name) & (published_tag.c.number == published.c.number),
        ).where(published_tag.c.tag == address.which)
    row = connection.execute(query.order_by(published.c.number.desc()).limit(1)).first()
    if row is None:
        raise NotFound(_missing(connection, address), version=str(address))
    tagged = select(published_tag.c.tag).where(published_tag.c.name == row.name, published_tag.c.number == row.number)
    return _version(row, list(connection.execute(tagged.order_by(published_tag.c.tag)).scalars()))


def _missing(connection: Connection, address: VersionAddress) -> str:
    """Why there is no such version, with what there is instead."""
    numbers = select(published.c.number).where(published.c.name == address.name).order_by(published.c.number.desc())
    known = [f"v{number}" for number in connection.execute(numbers.limit(_SHOWN)).scalars()]
    if known:
        tagged = select(published_tag.c.tag).where(published_tag.c.name == address.name)
        known += connection.execute(tagged.order_by(published_tag.c.tag).limit(_SHOWN)).scalars()
        return f"there is no version {address}; {address.name} has {', '.join(known)}; see orc versions {address.name}"
    names = list(connection.execute(select(named.c.name).order_by(named.c.name).limit(_SHOWN)).scalars())
    there = f"there are {', '.join(names)}" if names else "nothing has been published yet"
    return f"nothing was published as {address.name!r}: {there}; a stage publishes with publish={address.name!r}"


def _version(row: Row[Any], tags: list[str]) -> PublishedVersion:
    return PublishedVersion(
        row.name, row.number, row.digest, row.cell, row.run, row.node, row.item, row.at, tuple(tags)
    )
