"""Runs that live on the cluster: what ``P.submit`` and ``orc submit`` do.

One Ray job a run. Its entrypoint first looks at every node; only when all of them see the same journal and artifacts
with the same versions is the run created, and only when its supervisor is up does ``submit`` return. From then on
the client is needed no more. Nothing secret becomes part of the job: URLs with a password are not sent.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from orchestrator import errors
from orchestrator.app.entrypoint import COMMAND, CREATED_S, LOOK_S, QUESTION, WORD
from orchestrator.app.inspection import Question, has_password, machine, versions
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.artifacts.signing import Signer
from orchestrator.backends.jobs import JobClient, JobState
from orchestrator.config.settings import Settings, without_password
from orchestrator.errors import BackendError, ClusterUnreachable, ConfigError, OrchestratorError, RunError
from orchestrator.graph import fact as f
from orchestrator.types import Duration, seconds

START_S = 300.0
"""Longest time for a job to begin: Ray may have to prepare the environment on the node first."""

ABANDONED_S = 120.0
"""A run without a driver whose job has ended for so long has no supervisor any more."""

_POLL_S = 0.25
_LOOK_S = 5.0
_TAIL = 1500


def submit(here: Installation, run: str, attempt: int, create: Callable[[], Any]) -> SubmittedRun:
    """Bring a run to the cluster of ``ORC_RAY_ADDRESS``, to be driven there until it ends.

    Args:
        run: Its id.
        attempt: Number of the attempt, part of the job's name; the next one if the cluster has seen it.
        create: Creates the run; called once the cluster has agreed to take it.

    Raises:
        ConfigError: there is no address, or the cluster does not see the stores; says which node and what to do.
        VersionSkew: a node has other versions; names both sides.
        ClusterUnreachable: the cluster does not answer, or takes no jobs.
        RunError: the run was created, but has no supervisor; it can be resumed.
    """
    address = here.settings.ray_address
    if address is None:
        raise ConfigError(
            "there is no cluster to submit to; set ORC_RAY_ADDRESS to host:port of its head, or to the address of its "
            "dashboard, e.g. http://head:8265"
        )
    client = JobClient(address)
    used = client.names()
    job = next(name for number in count(attempt) if (name := f"run-{run}-{number}") not in used)
    with questioning(here) as question:
        client.submit(job, f"{COMMAND} {run}", node_environment(here.settings) | {QUESTION: question.to_json()})
        waiting = _Words(client, job)
        try:
            waiting.until("accepted", START_S + LOOK_S)
            create()
        except BaseException:
            client.stop(job)
            raise
    try:
        waiting.until("supervised", CREATED_S + LOOK_S)
    except OrchestratorError as error:
        raise RunError(
            f"run {run} was created, but nobody drives it: {error.message}; go on with: orc resume {run}"
        ) from error
    return SubmittedRun(here, run, client, job)


class SubmittedRun(Run):
    """A run that a supervisor on the cluster keeps alive.

    Attributes:
        job: Name of its Ray job, for ``ray job logs`` and ``ray job stop``.
    """

    def __init__(self, installation: Installation, run_id: str, client: JobClient, job: str) -> None:
        super().__init__(installation, run_id)
        self.job = job
        self._watch = _Supervision(installation, run_id, client, job)

    def wait(self, timeout: Duration | None = None) -> SubmittedRun:
        """Wait until the run has ended on the cluster.

        Raises:
            TimeoutError: it has not ended in time; it goes on.
            RunError: nobody will drive it on any more; says why. It can be resumed.
        """
        timeout_s = None if timeout is None else seconds(timeout)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.state not in f.FINISHED:
            if self.driver is None:
                self._watch.look()
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"run {self.id} has not ended within {timeout_s} s; it goes on")
            time.sleep(_POLL_S)
        return self


class _Supervision:
    """Finds out that a run without a driver will get none any more."""

    def __init__(self, here: Installation, run: str, client: JobClient, job: str) -> None:
        self._here, self._run, self._client, self._job = here, run, client, job
        self._seq = 0
        self._given_up = ""
        self._asked_at = self._well_at = time.monotonic()

    def look(self) -> None:
        """Raise RunError if there is no supervisor; called while there is no driver."""
        for recorded in self._here.journal.facts(self._run, self._seq):
            self._seq = recorded.seq
            if isinstance(recorded.fact, f.SupervisionEnded):
                self._given_up = recorded.fact.reason
            elif isinstance(recorded.fact, f.DriverStarted):
                self._given_up = ""
                self._well_at = time.monotonic()
        if self._given_up:
            raise self._error(f"its supervisor has given up: {self._given_up}")
        now = time.monotonic()
        if now - self._asked_at < _LOOK_S:
            return
        self._asked_at = now
        trouble = self._trouble()
        if not trouble:
            self._well_at = now
        elif now - self._well_at > ABANDONED_S:
            raise self._error(trouble)

    def _trouble(self) -> str:
        try:
            state = self._client.state(self._job)
        except ClusterUnreachable as error:
            return error.message
        return f"its job {self._job} has {state.status}: {state.message}" if state.ended else ""

    def _error(self, why: str) -> RunError:
        return RunError(f"run {self._run} is not driven any more: {why}; go on with: orc resume {self._run}")


class _Words:
    """What a job says to its client."""

    def __init__(self, client: JobClient, job: str) -> None:
        self._client, self._job = client, job

    def until(self, wanted: str, timeout_s: float) -> None:
        """Wait for a word; raises what the cluster has against the run instead."""
        deadline = time.monotonic() + timeout_s
        while True:
            state = self._client.state(self._job)
            log = self._client.log(self._job)
            for told in _told(log):
                if told["word"] == wanted:
                    return
                if told["word"] == "refused":
                    kind = getattr(errors, str(told["error"]), BackendError)
                    raise kind(str(told["message"]))
            if state.ended:
                raise _ended_early(self._job, state, log)
            if time.monotonic() > deadline:
                raise ClusterUnreachable(
                    f"the job {self._job} is {state.status} and did not get ready within {timeout_s:g} s; "
                    f"see: ray job logs {self._job}"
                )
            time.sleep(_POLL_S)


def _told(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        if line.startswith(WORD):
            yield json.loads(line.removeprefix(WORD))


def _ended_early(job: str, state: JobState, log: str) -> BackendError:
    advice = ""
    if "No module named" in log or "not found" in log:
        advice = "; on the cluster's nodes `python` has to be the one that Ray was started with"
    said = log.strip()[-_TAIL:]
    return BackendError(f"the job {job} has {state.status}: {state.message}{advice}; it wrote:\n{said}")


def node_environment(settings: Settings) -> dict[str, str]:
    """Settings for the nodes, without any that holds a password: those they must have themselves."""
    found = {"ORC_HOME": str(settings.home)}
    urls = {"ORC_STORE": _journal_url(settings), "ORC_ARTIFACTS": settings.artifacts_url}
    return found | {name: url for name, url in urls.items() if not has_password(url)}


@contextmanager
def questioning(here: Installation) -> Iterator[Question]:
    """What nodes are asked; meanwhile there is something for them to find."""
    settings = here.settings
    here.journal.runs(limit=1)  # makes the journal, if this is the first run
    nonce, token = secrets.token_hex(16), secrets.token_hex(16)
    journal = _file_of(settings.journal_url)
    token_file = None if journal is None else journal.with_name(f"{journal.name}.seen-{secrets.token_hex(4)}")
    signature = Signer(settings.keys_dir).sign((nonce.encode(),)).hex()
    artifact = here.artifacts.put(secrets.token_bytes(16))
    try:
        if token_file is not None:
            token_file.write_text(token)
        yield Question(
            without_password(_journal_url(settings)), settings.artifacts_label, token if token_file else "",
            str(token_file or ""), artifact, machine(), nonce, signature, versions(),
        )  # fmt: skip
    finally:
        if token_file is not None:
            token_file.unlink(missing_ok=True)
        here.artifacts.delete(artifact)


def _journal_url(settings: Settings) -> str:
    """The journal's URL; a file is named from the root, because a job has a directory of its own."""
    file = _file_of(settings.journal_url)
    return settings.journal_url if file is None else f"sqlite:///{file}"


def _file_of(journal_url: str) -> Path | None:
    """The file of a journal; None for one on a server."""
    from orchestrator.store.sqlite import path_of

    return path_of(journal_url) if journal_url.startswith("sqlite") else None
