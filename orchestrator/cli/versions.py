"""``orc versions``, ``orc diff``, ``orc tag``, ``orc cursors``, and ``orc get`` of a version."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.outputs import StoredValues
from orchestrator.app.versions import Version, Versions
from orchestrator.cli.comparing import diff_runs
from orchestrator.cli.data_documents import (
    ColumnDifferenceItem,
    ColumnItem,
    CursorItem,
    DifferenceDocument,
    PartItem,
    VersionItem,
)
from orchestrator.cli.documents import ValueDocument
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import counted, iso, local_time, note, size, table, write, write_json
from orchestrator.cli.text import as_text
from orchestrator.errors import ConfigError
from orchestrator.graph.version import names_version, parse_version

if TYPE_CHECKING:
    from orchestrator.artifacts.comparison import ColumnProfile, Difference
    from orchestrator.ports.values import Description

Compared = Annotated[str, typer.Argument(metavar="RUN|VERSION", help="a run, or data:NAME@v3 or model:NAME@TAG")]
VersionName = Annotated[str, typer.Argument(metavar="VERSION", help="data:NAME or model:NAME, then @v3 or @TAG")]


def versions(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="data:NAME or model:NAME; all if not given")
    ] = None,
    json: Json = False,
) -> None:
    """List versions of published data sets and models, newest first."""
    here = Installation()
    found = Versions(here).list(name)
    if name is not None and not found:
        here.registry.find(parse_version(name))  # says what there is instead
    if json:
        write_json([version_item(version) for version in found])
    elif not found:
        write("nothing has been published yet; a stage publishes what it returns with publish='data:NAME'")
    else:
        rows = [
            (one.address, local_time(one.row.at), size(one.description.size), one.row.run, ", ".join(one.row.tags),
             one.description.preview) for one in found
        ]  # fmt: skip
        write(table(("version", "published", "size", "run", "tags", "what"), rows))


def tag(
    address: VersionName,
    name: Annotated[str, typer.Argument(metavar="TAG", help="a name for this version, such as prod")],
    delete: Annotated[bool, typer.Option("--delete", "-d", help="take the tag away instead")] = False,
) -> None:
    """Let NAME@TAG be this version from now on, and no other of that name; or take the tag away."""
    found = Versions(Installation())
    if delete:
        found.untag(address, name)
        note(f"{parse_version(address).name}: no version is tagged {name} any more")
    else:
        note(f"{found.tag(address, name).address} is tagged {name}")


def cursors(
    pipeline: Annotated[str | None, typer.Argument(metavar="PIPELINE", help="only those of this pipeline")] = None,
    json: Json = False,
) -> None:
    """Say where the cursors of pipelines stand: what the next run begins from."""
    found = Installation().registry.cursors(pipeline)
    if json:
        write_json([
            CursorItem(row.pipeline, row.name, json_text.loads(row.value), row.version, row.run, iso(row.at) or "")
            for row in found
        ])  # fmt: skip
    elif not found:
        write("no run that succeeded has moved a cursor yet")
    else:
        rows = [(row.pipeline, row.name, _short(row.value), row.run, local_time(row.at)) for row in found]
        write(table(("pipeline", "cursor", "value", "moved by", "at"), rows))


def diff(before: Compared, after: Compared, json: Json = False) -> int:
    """Say how two runs or two versions differ, first what matters."""
    if not (names_version(before) or names_version(after)):
        return diff_runs(before, after, json)
    known = Versions(Installation())
    old, new = known[before], known[after]
    found = old.diff(new)
    if json:
        write_json(_document(old, new, found))
    else:
        _tell(old, new, found)
    return ExitCode.OK


def get_version(here: Installation, address: str, step: str | None, to: Path | None, json: bool) -> None:
    """``orc get`` of a version.

    Raises:
        ConfigError: a step was named too.
        NotFound: there is no such version.
    """
    if step is not None:
        raise ConfigError(f"{address} is a version and has no steps; leave out {step!r}")
    version, stored = Versions(here)[address], StoredValues(here)
    if to is not None:
        count = to.write_bytes(stored.stored([version.cell]))
        note(f"{to}: {version.address}, {size(count)}")
        return
    value = stored.data(version.cell)
    if json:
        write_json(ValueDocument(version.row.run, version.step, value, version.address))
    else:
        write(as_text(value))


def version_item(version: Version) -> VersionItem:
    """A version as it is printed."""
    row, seen = version.row, version.description
    return VersionItem(
        version.address, row.name, row.number, row.digest, seen.type, seen.size, seen.length, seen.preview, row.run,
        version.step, iso(row.at) or "", list(row.tags),
    )  # fmt: skip


def _document(old: Version, new: Version, found: Difference) -> DifferenceDocument:
    return DifferenceDocument(
        version_item(old), version_item(new), found.equal, found.rows,
        [ColumnDifferenceItem(c.name, _profile(c.before), _profile(c.after), c.distance) for c in found.columns],
        [PartItem(part.name, _preview(part.before), _preview(part.after)) for part in found.parts],
        dict(found.metrics),
    )  # fmt: skip


def _profile(column: ColumnProfile | None) -> ColumnItem | None:
    if column is None:
        return None
    low, high = (
        end if isinstance(end, bool | int | float | str | None) else str(end)
        for end in (column.minimum, column.maximum)
    )
    return ColumnItem(column.type, column.nulls, low, high, column.mean, list(column.quantiles), column.distinct)


def _preview(seen: Description | None) -> str | None:
    return None if seen is None else seen.preview


def _tell(old: Version, new: Version, found: Difference) -> None:
    write(f"{old.address}  {size(found.before.size)}  {local_time(old.row.at)}  {old.row.run}")
    write(f"{new.address}  {size(found.after.size)}  {local_time(new.row.at)}  {new.row.run}")
    if found.equal:
        write("the same content")
        return
    if found.rows is not None:
        before, after = found.rows
        write(f"{counted(before, 'row')} -> {counted(after, 'row')} ({after - before:+,})\n")
        rows = [_row(column.name, column.before, column.after, column.distance) for column in found.columns]
        write(table(("column", "type", "nulls", "min", "max", "mean", "quartiles", "distance"), rows))
    elif found.parts:
        parts = [
            (part.name or "value", _preview(part.before) or "-", _preview(part.after) or "-") for part in found.parts
        ]
        write(table(("part", "before", "after"), parts))
    if found.metrics:
        metrics = [(name, _number(before), _number(after)) for name, (before, after) in found.metrics.items()]
        write("\n" + table(("metric", "before", "after"), metrics))


def _row(name: str, old: ColumnProfile | None, new: ColumnProfile | None, distance: float | None) -> tuple[str, ...]:
    if old is None or new is None:
        known = new or old
        assert known is not None
        kind = f"{known.type} ({'added' if old is None else 'removed'})"
        return (name, kind, str(known.nulls), *_numbers_of(known), "-")
    told = zip(
        (old.type, f"{old.nulls:,}", *_numbers_of(old)), (new.type, f"{new.nulls:,}", *_numbers_of(new)), strict=True
    )
    shown = [was if was == now else f"{was} -> {now}" for was, now in told]
    return (name, *shown, "-" if distance is None else f"{distance:.3f}")


def _numbers_of(column: ColumnProfile) -> tuple[str, str, str, str]:
    quartiles = "/".join(_number(value) for value in column.quantiles) or "-"
    return _number(column.minimum), _number(column.maximum), _number(column.mean), quartiles


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) else _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
