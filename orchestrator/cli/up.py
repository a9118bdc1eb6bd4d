"""``orc up`` and ``orc down``: a local Ray that stays up between commands, so that runs on Ray need not start one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app import standing
from orchestrator.cli.documents import DownDocument, UpDocument
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import counted, iso, local_time, note, size, table, write, write_json
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError
from orchestrator.types import seconds
from orchestrator.views.status import duration_text

if TYPE_CHECKING:
    from orchestrator.app.standing import ClusterUse, StandingRay

Background = Annotated[bool, typer.Option("--background", "-b", help="return when it is up; end it with orc down")]
Status = Annotated[bool, typer.Option("--status", help="only say what is up: exit code 4 if nothing is")]
Cpus = Annotated[int | None, typer.Option("--num-cpus", min=1, help="CPUs it has (default: all of this machine)")]
Gpus = Annotated[int | None, typer.Option("--num-gpus", min=0, help="GPUs it has (default: all of this machine)")]
Idle = Annotated[
    str | None, typer.Option("--idle", metavar="DURATION", help="end when nobody was attached for so long")
]


def up(
    background: Background = False,
    status: Status = False,
    num_cpus: Cpus = None,
    num_gpus: Gpus = None,
    idle: Idle = None,
    json: Json = False,
) -> int:
    """Keep a local Ray up, to which later runs attach; until Ctrl-C, or in the background."""
    if status and (background or num_cpus is not None or num_gpus is not None or idle is not None):
        raise ConfigError("--status starts nothing: leave the other options out")
    settings = Settings.from_environment().create_home()
    if status:
        _show(standing.running(settings), json)
        return ExitCode.OK
    if settings.ray_address:
        note(f"runs go to the Ray at {settings.ray_address} as long as ORC_RAY_ADDRESS is set")
    wish = standing.Wish(num_cpus, num_gpus, None if idle is None else seconds(idle))
    if not background:
        return _keep(settings, wish, json)
    found = standing.start_in_background(settings, wish, _starting)
    _tell(found.ray, found.started, json)
    return ExitCode.OK


def down(json: Json = False) -> None:
    """End the local Ray that orc up keeps, and everything that runs on it."""
    ended = standing.end(Settings.from_environment().create_home())
    if json:
        write_json(DownDocument(ended is not None, None if ended is None else ended.pid))
    elif ended is None:
        note("no Ray was up")
    else:
        note(f"ended the Ray at {ended.address} (process {ended.pid})")


def _starting(before: StandingRay | None) -> None:
    if before is not None and not before.alive:
        note(f"the one before (process {before.pid}) has ended unexpectedly; its logs: {before.session}")
    note("starting Ray …")


def _keep(settings: Settings, wish: standing.Wish, json: bool) -> int:
    """Keep a Ray in this process."""
    note("starting Ray …")

    def ready(ray: StandingRay, ours: bool) -> None:
        _tell(ray, ours, json)
        if ours:
            note("runs attach to it now; Ctrl-C ends it")

    reason = standing.keep(settings.home, wish, ready)
    if reason:
        note(f"the Ray has ended: {reason}")
    return ExitCode.OK


def _tell(ray: StandingRay, started: bool, json: bool) -> None:
    if json:
        write_json(_document(ray, started, None))
        return
    note(f"a Ray {'is' if started else 'was already'} up: {_where(ray)}")
    note(f"it has {_amounts(ray)}, no dashboard; see it with orc up --status, end it with orc down")


def _show(ray: StandingRay, json: bool) -> None:
    use = standing.use(ray)
    if json:
        write_json(_document(ray, False, use))
        return
    rows = [
        ("address", ray.address),
        ("process", str(ray.pid)),
        ("since", f"{local_time(ray.started_at)} ({duration_text(time.time() - ray.started_at)})"),
        ("cpus", f"{_used(use, 'CPU'):g} of {ray.cpus:g} in use"),
        ("gpus", f"{_used(use, 'GPU'):g} of {ray.gpus:g} in use"),
        ("attached", f"{counted(len(use.drivers), 'driver')}, {counted(use.actors, 'actor')}"),
        ("ends", "with orc down" if ray.idle_s is None else f"after {duration_text(ray.idle_s)} with nobody attached"),
        ("logs", ray.session),
    ]
    write(table(("", ""), rows).lstrip("\n"))
    for difference in ray.differences():
        note(f"runs cannot attach to it from here: {difference}")


def _document(ray: StandingRay, started: bool, use: ClusterUse | None) -> UpDocument:
    return UpDocument(
        address=ray.address,
        pid=ray.pid,
        started=started,
        started_at=iso(ray.started_at) or "",
        idle_s=ray.idle_s,
        cpus=ray.cpus,
        gpus=ray.gpus,
        memory_bytes=int(ray.memory_bytes),
        dashboard=None,
        session=ray.session,
        versions=ray.versions,
        cpus_used=None if use is None else _used(use, "CPU"),
        gpus_used=None if use is None else _used(use, "GPU"),
        drivers=None if use is None else len(use.drivers),
        actors=None if use is None else use.actors,
    )


def _used(use: ClusterUse, resource: str) -> float:
    return max(0.0, use.total.get(resource, 0.0) - use.available.get(resource, 0.0))


def _where(ray: StandingRay) -> str:
    return f"{ray.address}, process {ray.pid}, since {local_time(ray.started_at)}"


def _amounts(ray: StandingRay) -> str:
    gpus = f", {counted(int(ray.gpus), 'GPU')}" if ray.gpus else ""
    return f"{counted(int(ray.cpus), 'CPU')}{gpus} and {size(ray.memory_bytes)} of memory"
