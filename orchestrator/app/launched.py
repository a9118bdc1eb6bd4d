"""The process that ``app.launching`` starts: does what its order says, and answers with plain data."""

from __future__ import annotations

import inspect
import os
import re
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from orchestrator.app.declaring import declarations
from orchestrator.app.fork import refuse_acting
from orchestrator.app.launching import Begun, Fork, Inspect, Inspected, Node, Order, Parameter, Promoted, Refusal, Start
from orchestrator.app.promoting import promote
from orchestrator.app.releasing import send_back, send_out
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.config.job import Job, load_job
from orchestrator.config.overrides import Written, values_of
from orchestrator.config.recorded import locate
from orchestrator.config.suggestion import meant_or_known
from orchestrator.errors import ConfigError, OrchestratorError, RunError, UserError
from orchestrator.graph.fact import FINISHED
from orchestrator.graph.json import graph_to_json


def main(pipe: int) -> int:
    """Read an order from standard input, do it, and drive the run that comes of it to its end."""
    os.set_inheritable(pipe, False)
    sys.path.insert(0, os.getcwd())  # pipelines of the project, as for ``orc run``
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        answer, run = carry_out(order, Runner())
    except OrchestratorError as error:
        answer, run = Refusal(type(error).__name__, str(error).removesuffix(f" [{error.code}]")), None
    except Exception as error:
        traceback.print_exc()  # into the log
        answer, run = Refusal(RunError.__name__, f"{type(error).__name__}: {error}"), None
    with suppress(BrokenPipeError), open(pipe, "wb") as told:  # whoever asked may be dead; the run goes on
        told.write(msgspec.json.encode(answer))
    if run is not None and (run.driver or "").endswith(f":{os.getpid()}"):  # else somebody had begun it before
        run.wait()
    return 0


def carry_out(order: Order, runner: Runner) -> tuple[msgspec.Struct, Run | None]:
    """What is answered, and the run to drive on.

    Raises:
        OrchestratorError: it was refused.
    """
    if order.inspect is not None:
        return inspected(runner, order.inspect), None
    if order.declare is not None:
        return declarations(order.declare), None
    if order.promote is not None:
        done = promote(runner, order.promote)
        return Promoted(address=f"{done.name}@v{done.number}", before=done.before, to=done.to, run=done.run), None
    if order.start is not None:
        run = _started(runner, order.start)
    elif order.fork is not None:
        run = _forked(runner, order.fork)
    elif order.release is not None:
        run = send_out(runner, order.release.asked, order.release.key)
    elif order.rollback is not None:
        run = send_back(runner, order.rollback.asked, order.rollback.key)
    else:
        raise UserError("the order names nothing to do")
    return Begun(run.id), run


def _started(runner: Runner, asked: Start) -> Run:
    job = load_job(asked.what, _written(asked.values))
    on = None if asked.on not in ("local", "ray") else asked.on
    pipeline = job.pipeline.options(on=on, tags=asked.tags, key=asked.key)  # type: ignore[arg-type]
    return runner.start(pipeline, {**job.params, **asked.params}, pipeline.run_options, detach=True)


def _forked(runner: Runner, asked: Fork) -> Run:
    """The fork, or the run that its key has already: driven on here if nobody drives it."""
    here = runner.installation
    known = here.journal.run_of_key(asked.key)
    if known is not None:
        going_on = here.journal.run(known).state in FINISHED or here.journal.owner(known) is not None
        return Run(here, known) if going_on else runner.resume(known, detach=True)
    graph = here.fold(here.journal.run(asked.run).id).graph
    job = load_job(asked.what or locate(graph, "a file of the project, by its name"))
    takes = job.pipeline.signature.parameters
    for name in asked.values:
        if name not in takes and not job.pipeline.variadic[1]:
            raise ConfigError(f"params.{name}: {job.pipeline.name} has no such parameter{meant_or_known(name, takes)}")
    of_file = {name: value for name, value in job.params.items() if name not in graph.params}
    written = values_of(
        {name: Written(text, f"params.{name}") for name, text in asked.values.items()},
        {name: job.pipeline.hints.get(name, Any) for name in (*takes, *asked.values)},
    )
    made = runner.fork(asked.run, asked.step, job.pipeline, {**of_file, **written})
    acting = made.renewal.acting
    refuse_acting(made, acting if "*" in asked.repeat else asked.repeat)
    return runner.rerun(made.renewal, detach=True, code=made.code, key=asked.key)


def inspected(runner: Runner, asked: Inspect) -> Inspected:
    """What a pipeline takes, and its plan or why there is none.

    Raises:
        NotFound, ConfigError, DefinitionError: there is no such pipeline, or it cannot be read.
    """
    known = load_job(asked.what)
    told: dict[str, Any] = {
        "pipeline": known.pipeline.name, "about": inspect.getdoc(known.pipeline.function) or "",
        "parameters": _parameters(known),
    }  # fmt: skip
    try:
        job = load_job(asked.what, _written(asked.values))
        plan = runner.plan(job.pipeline, job.params, job.pipeline.run_options)
    except OrchestratorError as error:
        return Inspected(**told, code=error.code, why=error.message)
    nodes = [Node(one.node, one.kind, one.action, one.steps, one.reason) for one in plan.nodes]
    return Inspected(**told, graph=graph_to_json(plan.graph), nodes=nodes)


def _parameters(job: Job) -> list[Parameter]:
    """Parameters in the order of the signature, with the values that a file sets as their defaults."""
    found = []
    for name, parameter in job.pipeline.signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = job.params.get(name, parameter.default)
        default = None if value is parameter.empty else _text(value)
        found.append(Parameter(name, _type(job.pipeline.hints.get(name, Any)), default))
    return found


def _type(annotation: Any) -> str:
    """A type as somebody would write it, without the modules that its names are from."""
    return re.sub(r"\b(?:\w+\.)+", "", inspect.formatannotation(annotation))


def _text(value: Any) -> str:
    """A value as somebody would write it on a command line."""
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError):
        return repr(value)


def _written(values: Mapping[str, str]) -> list[str]:
    return [f"{name}={text}" for name, text in values.items()]
