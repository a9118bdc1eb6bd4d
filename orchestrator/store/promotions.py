"""Promotions of model versions: decided and written in one transaction under the lock of the name, then read back."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select

from orchestrator.ports.promotion import GateCheck, Promotion, Standing, Wanted, promote
from orchestrator.store.schema import promotion, published_tag

_OF_NAME = promotion.c.name == bindparam("of_name")
_TAGS = select(published_tag.c.tag, published_tag.c.number).where(published_tag.c.name == bindparam("of_name"))
_SERVED = select(promotion.c.number).where(_OF_NAME, promotion.c.to_stage == "production").distinct()
_LAST = select(func.coalesce(func.max(promotion.c.place), 0)).where(_OF_NAME)
_NEWEST_FIRST = select(promotion).where(_OF_NAME).order_by(promotion.c.place.desc())
_UNTAG = delete(published_tag).where(
    published_tag.c.name == bindparam("of_name"), published_tag.c.tag == bindparam("of_tag")
)
_checks = msgspec.json.Decoder(tuple[GateCheck, ...])


def move(connection: Connection, wanted: Wanted) -> Promotion:
    """Promote a version that exists; whoever calls holds the lock of its name."""
    before = standing_of(connection, wanted.name)
    record, after = promote(before, wanted)
    changed = {tag for tag in {*before.tags, *after.tags} if before.tags.get(tag) != after.tags.get(tag)}
    for tag in sorted(changed):
        connection.execute(_UNTAG, {"of_name": wanted.name, "of_tag": tag})
        if tag in after.tags:
            row = {"name": wanted.name, "tag": tag, "number": after.tags[tag], "at": wanted.at}
            connection.execute(insert(published_tag), row)
    place = connection.execute(_LAST, {"of_name": wanted.name}).scalar_one() + 1
    connection.execute(
        insert(promotion),
        {
            "name": record.name, "place": place, "number": record.number, "before": record.before,
            "to_stage": record.to, "replaced": record.replaced, "who": record.by, "why": record.why, "at": record.at,
            "checks": msgspec.json.encode(record.checks), "forced": record.forced, "alias": record.alias,
            "run": record.run,
        },
    )  # fmt: skip
    return record


def standing_of(connection: Connection, name: str) -> Standing:
    """Where the versions of a name stand."""
    tags = {row.tag: row.number for row in connection.execute(_TAGS, {"of_name": name})}
    return Standing(tags, frozenset(connection.execute(_SERVED, {"of_name": name}).scalars()))


def promotions_of(connection: Connection, name: str) -> list[Promotion]:
    """Newest first."""
    return [_promotion(row) for row in connection.execute(_NEWEST_FIRST, {"of_name": name})]


def _promotion(row: Row[Any]) -> Promotion:
    return Promotion(
        row.name, row.number, row.before, row.to_stage, row.replaced, row.who, row.why, row.at,
        _checks.decode(row.checks), row.forced, row.alias, row.run,
    )  # fmt: skip
