"""Entry point of ``orc``: finds the command, loads only its module, and turns every outcome into an exit code.

Commands are functions with typer annotations; each is a program of its own, so ``orc --help`` needs neither typer nor
any of their modules.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple, NoReturn

from orchestrator.cli.exit_code import ExitCode, tell


class Command(NamedTuple):
    """Where a command is, and what it is for."""

    module: str
    function: str
    help: str


COMMANDS: Final = {
    "demo": Command("demo", "demo", "see it work: real data, a killed worker, a served model, then the cache"),
    "init": Command("init", "init", "write a new project that runs as it is"),
    "run": Command("running", "run", "run a pipeline and wait for its end"),
    "plan": Command("planning", "plan", "say what a run would do and why, without doing it"),
    "resume": Command("running", "resume", "go on with a run whose driver is gone"),
    "rerun": Command("rerun", "rerun", "start a new run from the record of another, or verify that one"),
    "fork": Command("fork", "fork", "start a new run with the history of another up to a step, then other code"),
    "submit": Command("submit", "submit", "run a pipeline on a cluster, where it goes on without this process"),
    "export": Command("export", "export", "write a manifest that runs a pipeline on Kubernetes"),
    "cancel": Command("answers", "cancel", "end a run"),
    "ls": Command("listing", "ls", "list runs, newest first"),
    "show": Command("listing", "show", "show a run and its steps"),
    "logs": Command("logs", "logs", "print, search or follow what steps wrote"),
    "top": Command("top", "top", "watch what runs now: runs, steps, workers, and what waits for them"),
    "get": Command("steps", "get", "print or save the output of a step or run, or a version"),
    "versions": Command("versions", "versions", "list versions of published data sets and models"),
    "diff": Command("versions", "diff", "say how two runs or two versions differ"),
    "tag": Command("versions", "tag", "give a version a tag, or take one away"),
    "models": Command("models", "models", "list versions of models, their stages, lineage, gates and cards"),
    "promote": Command("models", "promote", "move a model version to staging or production, past its gates"),
    "release": Command("releasing", "release", "let a published model take over an application, watched"),
    "ab": Command("ab", "ab", "say what an A/B experiment has found so far, and draw it"),
    "rollback": Command("releasing", "rollback", "give an application back to its last good version"),
    "preview": Command("previewing", "preview", "serve a model for a while under a name of its own"),
    "cursors": Command("versions", "cursors", "say where the cursors of pipelines stand"),
    "send": Command("send", "send", "send traces, lineage and experiments of runs to other tools"),
    "cost": Command("cost", "cost", "say what runs cost, and which part of that was idle"),
    "alerts": Command("alerts", "alerts", "list what was raised about runs, and whom it could not reach"),
    "why": Command("explaining", "why", "say why a step ran, waited, was reused or failed"),
    "debug": Command("debugging", "debug", "run one step of a run again in this process, on its real inputs"),
    "quality": Command("quality", "quality", "show what the checks found and how the tables look"),
    "approve": Command("answers", "approve", "answer a step that waits for a person"),
    "signal": Command("answers", "signal", "answer a step that waits for a program"),
    "torture": Command("torture", "torture", "kill a pipeline at every write and name the steps unsafe to repeat"),
    "trigger": Command("trigger", "trigger", "list, show, fire, pause what makes pipelines run by themselves"),
    "up": Command("up", "up", "serve web pages and API, fire triggers, and keep a local Ray up for runs on Ray"),
    "down": Command("up", "down", "end the local Ray that orc up keeps, and the web pages"),
    "db": Command("db", "db", "upgrade, check, back up or restore the journal"),
    "gc": Command("upkeep", "gc", "remove old runs and artifacts that nothing needs any more"),
    "doctor": Command("upkeep", "doctor", "check this installation"),
}
"""Commands in the order of the help text."""

_INTRODUCTION: Final = """\
usage: orc COMMAND [ARGUMENTS]

Durable machine-learning pipelines, from raw data to a served model.
"""

_CODES: Final = """\
Exit codes: 0 ok, 1 failed, 2 usage, 3 refused by a gate, 4 not found, 5 cluster unreachable, 6 degraded,
124 timed out, 130 interrupted. Settings: ORC_HOME, ORC_STORE, ORC_ARTIFACTS, ORC_RAY_ADDRESS, ORC_SLOTS,
ORC_LEASE.
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``orc`` with arguments (those of the process when None) and exit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _dispatch(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("orc: interrupted\n")
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone; nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.FAILED
    sys.exit(int(code))


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        sys.stdout.write(help_text())
        return ExitCode.OK if given else ExitCode.USAGE
    if given[0] in ("-V", "--version"):
        import orchestrator

        sys.stdout.write(f"orc {orchestrator.__version__}\n")
        return ExitCode.OK
    name, *rest = given
    if name not in COMMANDS:
        from orchestrator.config.suggestion import did_you_mean

        sys.stderr.write(f"orc: there is no command {name!r}{did_you_mean(name, COMMANDS)}; see orc --help\n")
        return ExitCode.USAGE
    return call(name, rest)


def call(name: str, arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are told on standard error."""
    import importlib

    import typer

    command = COMMANDS[name]
    program = f"orc {name}"
    sys.path.insert(0, os.getcwd())  # pipelines of the project one stands in, as `python -m` does
    function = getattr(importlib.import_module(f"orchestrator.cli.{command.module}"), command.function)

    @functools.wraps(function)
    def told(*args: object, **kwargs: object) -> NoReturn:
        try:
            code = function(*args, **kwargs) or ExitCode.OK
        except BrokenPipeError:
            raise
        except Exception as error:
            code = tell(error, program)
        raise typer.Exit(int(code))

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, context_settings={"help_option_names": ["-h", "--help"]})(told)
    try:
        typer.main.get_command(app).main(list(arguments), prog_name=program)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitCode.FAILED
    return ExitCode.OK


def help_text() -> str:
    """What ``orc --help`` prints."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{command.help}" for name, command in COMMANDS.items()]
    return "\n".join([_INTRODUCTION, *lines, "", "`orc COMMAND --help` says more.", "", _CODES])
