"""May a run go to this cluster? What every node is asked before, and what the answers mean.

``examine`` is called on each node and imports nothing outside the standard library before it knows that it is there;
``objection`` decides from the answers alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from orchestrator.backends.cluster import check_versions
from orchestrator.config.settings import Settings, without_password
from orchestrator.errors import ConfigError, OrchestratorError, VersionSkew

DISTRIBUTION = "ray-orchestrator"
_MODULES = ("sqlalchemy", "alembic", "msgspec", "blake3", "cloudpickle", "fsspec", "pyarrow", "numpy", "yaml")
_MODULES_BY_SCHEME = {"postgresql": ("psycopg",), "s3": ("obstore",)}
_EXTRAS = {"psycopg": "postgres", "obstore": "s3"}
_COMPARED = {"ray": "ray", "pyarrow": "pyarrow", "engine": DISTRIBUTION}


@dataclass(frozen=True, slots=True)
class Question:
    """What a node has to find as the client does.

    Attributes:
        store, artifacts: URLs without their passwords.
        token: Content of ``token_file`` beside a journal that is a file; empty for one on a server.
        artifact: Digest of an artifact with random content.
        machine: Where the client runs; a journal that is a file can be used by processes of one machine only.
        nonce, signature: What the key that signs pickles makes of some random bytes.
        versions: The client's versions of Python, Ray, pyarrow and the engine.
    """

    store: str
    artifacts: str
    token: str
    token_file: str
    artifact: str
    machine: str
    nonce: str
    signature: str
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Question:
        """Inverse of ``to_json``."""
        return Question(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Report:
    """What a node found: its versions, modules that it lacks, and what else stands in the way of a run."""

    versions: Mapping[str, str]
    missing: tuple[str, ...] = ()
    faults: tuple[str, ...] = field(default=())


def versions() -> dict[str, str]:
    """Versions of this process, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name, distribution in _COMPARED.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue  # the engine travels with the job; a library that is missing is found to be so below
    return found


def machine() -> str:
    """Names this machine, the same in all its containers, until it starts again."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip() if boot.exists() else platform.node()


def has_password(url: str) -> bool:
    """True if a URL holds a secret, which must not become part of a job's description."""
    return without_password(url) != url or "password=" in url.lower()


def examine(question: Question) -> Report:
    """Look from this node."""
    modules = _MODULES + _MODULES_BY_SCHEME.get(_scheme(question.store), ())
    modules += _MODULES_BY_SCHEME.get(_scheme(question.artifacts), ())
    missing = tuple(module for module in modules if importlib.util.find_spec(module) is None)
    if missing:
        return Report(versions(), missing)
    faults: list[str] = []
    try:
        settings = Settings.from_environment().create_home()
        faults += _settings_differ(settings, question)
        if not faults:
            faults += [*_journal(settings, question), *_artifacts(settings, question), *_key(settings, question)]
    except OrchestratorError as error:
        faults.append(error.message)
    return Report(versions(), (), tuple(faults))


def _scheme(url: str) -> str:
    return url.partition("://")[0].partition("+")[0]


def _settings_differ(settings: Settings, question: Question) -> list[str]:
    """A URL with a password does not travel: then the node's own environment has to say the same."""
    found = {
        "ORC_STORE": (without_password(settings.journal_url), question.store),
        "ORC_ARTIFACTS": (without_password(settings.artifacts_url), question.artifacts),
    }
    return [
        f"{name} is {here} there and {wanted} here; a URL that holds a password is not sent along: write it without "
        "(the password into PGPASSWORD or ~/.pgpass of the nodes), or set the same variable in the nodes' environment"
        for name, (here, wanted) in found.items()
        if here != wanted
    ]


def _journal(settings: Settings, question: Question) -> list[str]:
    from orchestrator.store import open_journal

    if question.token and not _holds(Path(question.token_file), question.token):
        return [
            f"it does not see the journal {question.store}: that is a file of another machine; set ORC_STORE to a "
            "postgresql:// URL and ORC_ARTIFACTS to an s3:// URL that all nodes reach, or submit from a machine whose "
            "disk the whole cluster is on"
        ]
    if question.token and machine() != question.machine:
        return [
            f"it sees the journal {question.store} over a network, where SQLite loses data; set ORC_STORE to a "
            "postgresql:// URL"
        ]
    open_journal(settings.journal_url).close()
    return []


def _artifacts(settings: Settings, question: Question) -> list[str]:
    from orchestrator.artifacts.store import open_store

    with tempfile.TemporaryDirectory() as empty:  # the node's own cache may be that of the client
        try:
            open_store(settings.artifacts_url, empty).get(question.artifact)
        except OrchestratorError as error:
            return [
                f"it does not see the artifacts in {question.artifacts} ({error.message}); set ORC_ARTIFACTS to a "
                "store that all nodes reach, such as s3://bucket/prefix"
            ]
    return []


def _key(settings: Settings, question: Question) -> list[str]:
    from orchestrator.artifacts.signing import KEY_FILE, KEY_VARIABLE, Signer

    there = bool(os.environ.get(KEY_VARIABLE)) or (settings.keys_dir / KEY_FILE).exists()
    if there and Signer(settings.keys_dir).sign((question.nonce.encode(),)).hex() == question.signature:
        return []
    return [
        f"it has {'another' if there else 'no'} key for signing pickles; give the nodes and this machine the same "
        f"{KEY_VARIABLE}, or let them share ORC_HOME"
    ]


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False


def objection(question: Question, reports: Mapping[str, Report | str]) -> OrchestratorError | None:
    """Why a run may not go to a cluster whose nodes answered so; None if it may."""
    if not reports:
        return ConfigError("the cluster has no living node")
    for node, report in reports.items():
        if isinstance(report, str):
            return ConfigError(f"node {node} could not be looked at: {report}")
        try:
            check_versions(question.versions, report.versions, f"node {node} of the cluster")
        except VersionSkew as error:
            return error
        if report.missing:
            return ConfigError(f"node {node} lacks {', '.join(report.missing)}; {_installing(question, report)}")
        if report.faults:
            return ConfigError(f"node {node} cannot take the run: {'; '.join(report.faults)}")
    return None


def _installing(question: Question, report: Report) -> str:
    extras = sorted({_EXTRAS[module] for module in report.missing if module in _EXTRAS})
    what = DISTRIBUTION + (f"[{','.join(extras)}]" if extras else "")
    version = question.versions.get("engine", "")
    return f"put it into the nodes' image: pip install '{what}{f'=={version}' if version else ''}'"
