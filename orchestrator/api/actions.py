"""What people and programs may do to a run: end it, let it go on, answer what it asks. Shared by API and pages."""

from __future__ import annotations

import json

from orchestrator.api.idempotency import Answers
from orchestrator.api.schemas import Accepted, Answer, Fork
from orchestrator.app.apart import fork_apart, resume_apart
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.errors import ConfigError, NotFound, RunError
from orchestrator.graph.fact import FINISHED


class Actions:
    """Actions on the runs of an installation; each happens once for a key."""

    def __init__(self, installation: Installation) -> None:
        self._here = installation
        self._answers = Answers(installation.settings.home / "requests")

    def cancel(self, run_id: str, reason: str, key: str | None) -> Accepted:
        """Ask for a run to end.

        Raises:
            RunError: it has ended.
        """

        def act() -> Accepted:
            run = self._open(run_id)
            run.cancel(reason)
            return Accepted(run=run.id, action="cancel", step="", driver=run.driver)

        return self._answers.once(key, _text("cancel", run_id, reason), act)

    def resume(self, run_id: str, key: str | None) -> Accepted:
        """Start a driver for a run that nobody drives; it goes on without this server.

        Raises:
            RunError: it has ended, is driven, or could not be resumed.
        """

        def act() -> Accepted:
            run = self._here.journal.run(run_id).id
            return Accepted(run=run, action="resume", step="", driver=resume_apart(self._here, run))

        return self._answers.once(key, _text("resume", run_id), act)

    def fork(self, run_id: str, fork: Fork, key: str | None) -> Accepted:
        """Start a new run from a step of another, with the code and parameters of that; it goes on without this server.

        Raises:
            NotFound: no such run or step.
            ForkRefused: it cannot be forked from there, or a step with effects would act again that was not named.
            RunError: its driver could not begin.
        """

        def act() -> Accepted:
            forked = fork_apart(self._here, run_id, fork.step, fork.repeat, f"fork {key}")
            return Accepted(run=forked.run, action="fork", step=forked.step, driver=forked.driver)

        return self._answers.once(key, _text("fork", run_id, fork.model_dump_json()), act)

    def answer(self, run_id: str, answer: Answer, key: str | None) -> Accepted:
        """Answer a step that waits.

        Raises:
            NotFound: no such step, or it waits for nothing of this kind.
            ConfigError: it is not clear whether this is an approval or a signal.
            RunError: the run has ended.
        """

        def act() -> Accepted:
            run = self._open(run_id)
            state = run.fold().nodes.get(answer.step)
            if state is None or state.node.kind not in ("approval", "signal"):
                raise NotFound(f"run {run.id} has no step {answer.step!r} that waits for an answer")
            if state.node.kind == "approval":
                if answer.approved is None:
                    raise ConfigError(f"{answer.step} is an approval: say whether it is approved, true or false")
                run.approve(answer.step, answer.approved, answer.by or "api")
            else:
                run.signal(answer.step, answer.value, answer.by or "api")
            return Accepted(run=run.id, action="answer", step=answer.step, driver=run.driver)

        return self._answers.once(key, _text("answer", run_id, answer.model_dump_json()), act)

    def _open(self, run_id: str) -> Run:
        row = self._here.journal.run(run_id)
        if row.state in FINISHED:
            raise RunError(f"run {row.id} has ended ({row.state}); there is nothing to do about it")
        return Run(self._here, row.id)


def _text(*parts: str) -> str:
    return json.dumps(parts)
