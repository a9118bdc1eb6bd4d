"""``orc up`` and ``orc down``: the web pages, and a local Ray that stays up so that runs on Ray need not start one."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.api.server import LOOPBACK, Web, address, bind, serving, token_of
from orchestrator.app import standing
from orchestrator.app.installation import Installation
from orchestrator.app.triggering import triggering
from orchestrator.app.watching import watching
from orchestrator.cli.documents import DownDocument, ServedDocument, UpDocument
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import counted, iso, local_time, note, size, table, write, write_json, write_json_line
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError
from orchestrator.types import seconds
from orchestrator.views.status import duration_text

if TYPE_CHECKING:
    from orchestrator.app.standing import ClusterUse, StandingRay

_PAGES_S = 30.0

Background = Annotated[bool, typer.Option("--background", "-b", help="return when it is up; end it with orc down")]
Status = Annotated[bool, typer.Option("--status", help="only say what is up: exit code 4 if nothing is")]
Cpus = Annotated[int | None, typer.Option("--num-cpus", min=1, help="CPUs it has (default: all of this machine)")]
Gpus = Annotated[int | None, typer.Option("--num-gpus", min=0, help="GPUs it has (default: all of this machine)")]
Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="where to listen; others than this machine need a token")
]
Port = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="of the web pages (default: 8710, or any if that is taken)"),
]
Token = Annotated[
    str, typer.Option("--token", metavar="env:NAME|file:PATH", help="where the token is that everybody has to send")
]
NoRay = Annotated[bool, typer.Option("--no-ray", help="only the web pages; runs on Ray start their own")]
NoResume = Annotated[bool, typer.Option("--no-resume", help="leave runs alone whose driver died")]
NoTriggers = Annotated[bool, typer.Option("--no-triggers", help="begin no runs by themselves")]
Idle = Annotated[
    str | None, typer.Option("--idle", metavar="DURATION", help="end when nobody was attached for so long")
]


def up(
    background: Background = False,
    status: Status = False,
    num_cpus: Cpus = None,
    num_gpus: Gpus = None,
    idle: Idle = None,
    host: Host = LOOPBACK,
    port: Port = None,
    token: Token = "",
    no_ray: NoRay = False,
    no_resume: NoResume = False,
    no_triggers: NoTriggers = False,
    json: Json = False,
) -> int:
    """Serve the web pages, keep a local Ray up to which later runs attach, fire triggers, drive orphaned runs on."""
    web = Web(host, port, token, os.getcwd(), not no_resume, not no_triggers)
    wish = standing.Wish(num_cpus, num_gpus, None if idle is None else seconds(idle))
    asked = wish != standing.Wish()
    switched = background or asked or no_ray or no_resume or no_triggers
    if status and (switched or token or port is not None or host != LOOPBACK):
        raise ConfigError("--status starts nothing: leave the other options out")
    settings = Settings.from_environment().create_home()
    if status:
        _show(settings, standing.running(settings), json)
        return ExitCode.OK
    if no_ray:
        if background or asked:
            raise ConfigError("--no-ray keeps no Ray and stays in the foreground: leave the other options out")
        return _serve(web, json)
    if settings.ray_address:
        note(f"runs go to the Ray at {settings.ray_address} as long as ORC_RAY_ADDRESS is set")
    token_of(web)
    if standing.find(settings) is None:
        bind(web).close()  # who asked for a port that is taken should know before Ray has started
    if not background:
        return _keep(settings, wish, web, json)
    keeper = standing.Keeper("orchestrator.api.keeping", (web.to_json(),))
    found = standing.start_in_background(settings, wish, _starting, keeper)
    _tell(settings, found.ray, found.started, json)
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


def _keep(settings: Settings, wish: standing.Wish, web: Web, json: bool) -> int:
    """Keep a Ray in this process and, as long as it is kept, serve."""
    note("starting Ray …")
    with ExitStack() as served:

        def ready(ray: StandingRay, ours: bool) -> None:
            if ours:
                here = Installation(settings)
                served.enter_context(serving(here, web))
                served.enter_context(watching(here, note, web.resume))
                served.enter_context(triggering(here, web.project, web.triggers))
            _tell(settings, ray, ours, json)
            if ours:
                note("runs attach to it now; Ctrl-C ends it")

        reason = standing.keep(settings.home, wish, ready)
    if reason:
        note(f"the Ray has ended: {reason}")
    return ExitCode.OK


def _serve(web: Web, json: bool) -> int:
    """Serve in this process, until a signal says that it is enough."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    here = Installation()
    with serving(here, web) as url, watching(here, note, web.resume), triggering(here, web.project, web.triggers):
        if json:
            write_json_line(ServedDocument(url))
        else:
            note(f"web pages: {url} (Ctrl-C ends them)")
        while not stop.wait(1.0):
            continue
    return ExitCode.OK


def _tell(settings: Settings, ray: StandingRay, started: bool, json: bool) -> None:
    url = address(settings.home, _PAGES_S if started else 0.0)
    if json:
        write_json(_document(ray, started, None, url))
        return
    if url is not None:
        note(f"web pages: {url}")
    elif started:
        note(f"the web pages did not come up; see {standing.log_path(settings)}")
    note(f"a Ray {'is' if started else 'was already'} up: {_where(ray)}")
    note(f"it has {_amounts(ray)}, no dashboard; see it with orc up --status, end it with orc down")


def _show(settings: Settings, ray: StandingRay, json: bool) -> None:
    use, url = standing.use(ray), address(settings.home)
    if json:
        write_json(_document(ray, False, use, url))
        return
    rows = [
        ("pages", url or "-"),
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


def _document(ray: StandingRay, started: bool, use: ClusterUse | None, url: str | None) -> UpDocument:
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
        pages=url,
    )


def _used(use: ClusterUse, resource: str) -> float:
    return max(0.0, use.total.get(resource, 0.0) - use.available.get(resource, 0.0))


def _where(ray: StandingRay) -> str:
    return f"{ray.address}, process {ray.pid}, since {local_time(ray.started_at)}"


def _amounts(ray: StandingRay) -> str:
    gpus = f", {counted(int(ray.gpus), 'GPU')}" if ray.gpus else ""
    return f"{counted(int(ray.cpus), 'CPU')}{gpus} and {size(ray.memory_bytes)} of memory"
