"""``orc preview``: serve a model for a while under a name of its own, list what is served so, or end it.

To serve one is a run of a ready pipeline; to look and to end take no run, only a connection to Ray.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.app.checkout import git_branch
from orchestrator.app.installation import Installation
from orchestrator.app.releasing import check_stays, start_ready
from orchestrator.app.runner import Runner
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.model_documents import PreviewEndedDocument, PreviewItem
from orchestrator.cli.output import iso, local_time, note, table, write, write_json
from orchestrator.cli.running import Json, Quiet, TimeLimit, watch
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError, NotFound
from orchestrator.types import seconds

_SHOW = "stages.pipelines.previewing:show"


def preview(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION|RUN]", help="model:NAME, then @v3 or @TAG; or the run that made it"),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="of the preview (default: the git branch, or the run)")
    ] = None,
    lasts: Annotated[str, typer.Option("--for", metavar="DURATION", help="how long it answers")] = "2h",
    remove: Annotated[str | None, typer.Option("--remove", metavar="NAME", help="end a preview now")] = None,
    listed: Annotated[bool, typer.Option("--list", help="say which there are")] = False,
    timeout: TimeLimit = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Serve a model for a while under a name of its own, list what is served so, or end it."""
    if (target is not None) + (remove is not None) + listed != 1:
        raise ConfigError("say what to show (orc preview model:NAME@v3, or a run), or --list, or --remove NAME")
    if listed:
        return _list(json)
    if remove is not None:
        return _remove(remove, json)
    lasts_s = seconds(lasts)
    model, of_run = _previewed(Installation(), target or "")
    params = {"model": model, "name": name or of_run or git_branch(Path.cwd()) or model, "lasts_s": lasts_s}
    runner = Runner()
    check_stays(runner.installation.settings)
    return watch(runner.installation, lambda: start_ready(runner, _SHOW, params), timeout, False, json, quiet)


def _previewed(here: Installation, target: str) -> tuple[str, str]:
    """The version to show, and the run if that was named."""
    if target.startswith("model:"):
        return target, ""
    run = here.journal.run(target).id
    made = [version.address for version in here.registry.versions() if version.run == run]
    models = [address for address in made if address.startswith("model:")]
    if len(models) == 1:
        return models[0], run
    if models:
        raise ConfigError(f"run {run} published {', '.join(models)}; name the one to show")
    raise NotFound(
        f"no model version is from run {run}; give the stage that makes one publish='model:NAME', or name the version, "
        "which may be of an earlier run that made the same: orc models"
    )


def _list(json: bool) -> int:
    from orchestrator.app.previews import served_previews

    found = served_previews(_settings())
    if json:
        write_json([PreviewItem(one.name, one.version, one.url, iso(one.until) or "") for one in found])
    elif found:
        rows = [(one.name, one.version, local_time(one.until), one.url) for one in found]
        write(table(("NAME", "VERSION", "UNTIL", "URL"), rows))
    else:
        note("there is no preview")
    return ExitCode.OK


def _remove(name: str, json: bool) -> int:
    from orchestrator.app.previews import end_preview

    ended = end_preview(_settings(), name)
    if json:
        write_json(PreviewEndedDocument(ended))
    else:
        note(f"the preview {ended} has ended")
    return ExitCode.OK


def _settings() -> Settings:
    settings = Installation().settings
    check_stays(settings)
    return settings
