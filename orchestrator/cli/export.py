"""``orc export``: a pipeline as a manifest for Kubernetes."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from orchestrator.app.rayjob import Shape, kubernetes_name, manifest
from orchestrator.cli.output import note, write
from orchestrator.cli.running import Tags, Values, What, tags_of
from orchestrator.config.job import load_job
from orchestrator.config.settings import Settings
from orchestrator.config.suggestion import did_you_mean
from orchestrator.config.written import as_yaml
from orchestrator.errors import ConfigError
from orchestrator.types import size_bytes

FORMATS = ("rayjob",)

Format = Annotated[str, typer.Argument(metavar="rayjob", help="what to write: a RayJob of KubeRay")]
Image = Annotated[
    str, typer.Option("--image", metavar="IMAGE", help="image with Python, Ray, ray-orchestrator and the project")
]
Workers = Annotated[int, typer.Option("--workers", min=1, metavar="N", help="worker pods")]
Cpus = Annotated[
    float | None, typer.Option("--num-cpus", min=1, metavar="N", help="CPUs of a worker; by need if not given")
]
Memory = Annotated[
    str | None, typer.Option("--memory", metavar="SIZE", help="memory of a worker; by need if not given")
]
SecretName = Annotated[
    str | None, typer.Option("--secret", metavar="NAME", help="Kubernetes secret; orc-PIPELINE if not given")
]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="name of the RayJob; the pipeline's if not given")
]


def export(
    what: Format,
    pipeline: What,
    image: Image,
    values: Values = None,
    workers: Workers = 2,
    num_cpus: Cpus = None,
    memory: Memory = None,
    secret: SecretName = None,
    name: Name = None,
    tag: Tags = None,
) -> None:
    """Write a manifest that runs a pipeline on Kubernetes; for kubectl apply -f."""
    if what not in FORMATS:
        raise ConfigError(f"{what!r} cannot be written{did_you_mean(what, FORMATS)}; write: orc export rayjob PIPELINE")
    job = load_job(pipeline, values or [])
    graph = job.pipeline.graph(**job.params)
    called = kubernetes_name(name or graph.pipeline)
    size = None if memory is None else size_bytes(memory)
    shape = Shape(
        image,
        metadata.version("ray"),
        secret or kubernetes_name(f"orc-{graph.pipeline}"),
        called,
        workers,
        num_cpus,
        size,
    )
    command = [pipeline, *(values or []), *(part for pair in tags_of(tag or []).items() for part in _tag(*pair))]
    made = manifest(graph, command, Settings.from_environment(), shape)
    write(as_yaml(made.body).rstrip("\n"))
    keys = " ".join(f"--from-literal={key}=…" for key in made.keys)
    note(f"it needs a secret: kubectl create secret generic {shape.secret} {keys}")
    for line in made.advice:
        note(line)


def _tag(name: str, value: str) -> tuple[str, str]:
    return "--tag", f"{name}={value}"
