"""A KubeRay ``RayJob`` that runs a pipeline on a cluster of its own: from the graph's needs and the settings, purely.

The job's command is ``orc submit``: the supervisor it starts is what restarts drivers, so Kubernetes is told not to
repeat the job. Secrets stay references to a Kubernetes secret.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.app.inspection import has_password
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError
from orchestrator.graph.node import DictExpr, Expr, Graph, ListExpr, SecretRef

HOME: Final = "/tmp/orc"
"""``ORC_HOME`` in the pods: unpacked code and logs of workers, nothing that has to last."""

TTL_S: Final = 600
"""How long the cluster stays after the run has ended, for its logs to be read."""

_GIB = 1024**3
_STORE_SHARE = 0.65
"""Part of a pod's memory that Ray offers to steps; the rest is for its object store and processes."""

_NAME_LENGTH = 47  # KubeRay adds to it, and Kubernetes allows 63
_OPTIONAL = {"postgresql": ("PGPASSWORD",), "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the pods are to be like.

    Attributes:
        image: With Python, Ray, ``ray-orchestrator`` and the project.
        workers: How many worker pods.
        num_cpus: Of a worker; None for what the largest step needs, at least 2.
        memory: Of a worker in bytes; None for what the largest step needs, at least 4 GiB.
        secret: Name of the Kubernetes secret.
        name: Of the manifest.
    """

    image: str
    ray_version: str
    secret: str
    name: str
    workers: int = 2
    num_cpus: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest, keys that the secret must have, and what has to be added by hand."""

    body: dict[str, Any]
    keys: tuple[str, ...]
    advice: tuple[str, ...]


def manifest(graph: Graph, command: Sequence[str], settings: Settings, shape: Shape) -> Manifest:
    """A ``RayJob`` for ``orc submit`` with these arguments.

    Raises:
        ConfigError: the journal or the artifacts are files of this machine, which no pod sees.
    """
    _check_stores(settings)
    environment = _environment(graph, settings, shape.secret)
    head = [*environment, {"name": "ORC_RAY_ADDRESS", "value": "127.0.0.1:6379"}]
    spec = {
        "entrypoint": shlex.join(["orc", "submit", *command]),
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": TTL_S,
        "backoffLimit": 0,
        "rayClusterSpec": {
            "rayVersion": shape.ray_version,
            "headGroupSpec": {
                "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
                "template": _pod("ray-head", shape.image, head, {"cpu": "2", "memory": "4Gi"}, _HEAD_PORTS),
            },
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    "replicas": shape.workers,
                    "minReplicas": shape.workers,
                    "maxReplicas": shape.workers,
                    "rayStartParams": _custom_resources(graph),
                    "template": _pod("ray-worker", shape.image, environment, _worker_resources(graph, shape), []),
                }
            ],
        },
    }
    body = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": shape.name}, "spec": spec}
    return Manifest(body, tuple(_required(environment)), tuple(_by_hand(graph)))


_HEAD_PORTS = [
    {"containerPort": 6379, "name": "gcs-server"},
    {"containerPort": 8265, "name": "dashboard"},
]


def kubernetes_name(text: str) -> str:
    """A name that Kubernetes takes: lower case, digits and dashes, not too long."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_NAME_LENGTH].rstrip("-") or "run"


def _check_stores(settings: Settings) -> None:
    if settings.journal_url.startswith("sqlite"):
        raise ConfigError(
            f"ORC_STORE is {settings.journal_label}, a file that pods do not see; set ORC_STORE=postgresql://user@host/database"
        )
    if settings.artifacts_url.startswith(("file:", "local:", "memory:")):
        raise ConfigError(
            f"ORC_ARTIFACTS is {settings.artifacts_label}, which pods do not see; set ORC_ARTIFACTS=s3://bucket/prefix"
        )


def _environment(graph: Graph, settings: Settings, secret: str) -> list[dict[str, Any]]:
    """Variables of every pod: settings as they are, what is secret as a reference."""
    found: list[dict[str, Any]] = [{"name": "ORC_HOME", "value": HOME}]
    for name, url in {"ORC_STORE": settings.journal_url, "ORC_ARTIFACTS": settings.artifacts_url}.items():
        if has_password(url):
            found.append(_secret(name, secret))
            continue
        found.append({"name": name, "value": url})
        scheme = url.partition("://")[0].partition("+")[0]
        found += [_secret(key, secret, optional=True) for key in _OPTIONAL.get(scheme, ())]
    needed = {"ORC_SIGNING_KEY", *_secrets_of(graph)} - {variable["name"] for variable in found}
    return found + [_secret(name, secret) for name in sorted(needed)]


def _secret(name: str, secret: str, optional: bool = False) -> dict[str, Any]:
    reference: dict[str, Any] = {"name": secret, "key": name}
    return {"name": name, "valueFrom": {"secretKeyRef": reference | ({"optional": True} if optional else {})}}


def _required(environment: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for variable in environment:
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference is not None and not reference.get("optional"):
            yield str(reference["key"])


def _secrets_of(graph: Graph) -> set[str]:
    """Variables that secrets of the graph are read from."""
    expressions = [graph.output, *graph.params.values(), *(arg for node in graph.nodes for arg in node.args.values())]
    references = {reference for expression in expressions for reference in _references(expression)}
    return {reference.removeprefix("env:") for reference in references if reference.startswith("env:")}


def _references(expression: Expr) -> Iterator[str]:
    if isinstance(expression, SecretRef):
        yield expression.reference
    elif isinstance(expression, ListExpr):
        for item in expression.items:
            yield from _references(item)
    elif isinstance(expression, DictExpr):
        for item in expression.items.values():
            yield from _references(item)


def _pod(
    name: str, image: str, environment: list[dict[str, Any]], resources: dict[str, str], ports: list[dict[str, Any]]
) -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": image, "env": environment}
    if ports:
        container["ports"] = ports
    container["resources"] = {"requests": resources, "limits": resources}
    return {"spec": {"containers": [container]}}


def _worker_resources(graph: Graph, shape: Shape) -> dict[str, str]:
    """Enough for the step that needs most of each."""
    needs = [node.policy.resources for node in graph.nodes]
    cpus = shape.num_cpus or max([2.0, *(need.num_cpus for need in needs)])
    largest = max((need.memory for need in needs), default=0)
    memory = shape.memory or max(4 * _GIB, math.ceil(largest / _STORE_SHARE))
    gpus = math.ceil(max((need.num_gpus for need in needs), default=0.0))
    found = {"cpu": f"{math.ceil(cpus)}", "memory": f"{math.ceil(memory / _GIB)}Gi"}
    return found | ({"nvidia.com/gpu": str(gpus)} if gpus else {})


def _custom_resources(graph: Graph) -> dict[str, str]:
    """Parameters of ``ray start`` for resources with names of their own, in the quotes that KubeRay wants."""
    found: dict[str, float] = {}
    for node in graph.nodes:
        for name, amount in node.policy.resources.resources.items():
            found[name] = max(amount, found.get(name, 0.0))
    return {"resources": json.dumps(json.dumps(found))} if found else {}


def _by_hand(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        need = node.policy.resources
        if need.accelerator_type:
            yield f"{node.id} needs the accelerator {need.accelerator_type}: give the workers a nodeSelector for it"
        if need.label_selector:
            wanted = ", ".join(f"{name}={value}" for name, value in need.label_selector.items())
            yield f"{node.id} needs a node labelled {wanted}: add labels to rayStartParams of the workers"
