"""``orc export``: a pipeline as a manifest for Kubernetes, or as a pipeline file."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from orchestrator.app.rayjob import Shape, kubernetes_name, manifest
from orchestrator.cli.output import note, write
from orchestrator.cli.running import Tags, Values, What, tags_of
from orchestrator.config.graph_writer import params_in_words, written_graph
from orchestrator.config.job import Job, load_job
from orchestrator.config.settings import Settings
from orchestrator.config.suggestion import did_you_mean
from orchestrator.config.written import as_yaml
from orchestrator.errors import ConfigError
from orchestrator.types import size_bytes

FORMATS = ("rayjob", "yaml")

Format = Annotated[
    str,
    typer.Argument(metavar="rayjob|yaml", help="what to write: a RayJob of KubeRay, or the graph as a pipeline file"),
]
Image = Annotated[
    str | None,
    typer.Option("--image", metavar="IMAGE", help="image with Python, Ray, ray-orchestrator and the project"),
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
    image: Image = None,
    values: Values = None,
    workers: Workers = 2,
    num_cpus: Cpus = None,
    memory: Memory = None,
    secret: SecretName = None,
    name: Name = None,
    tag: Tags = None,
) -> None:
    """Write a pipeline as a manifest for kubectl apply -f, or as a pipeline file with its whole graph.

    The options are those of a RayJob, which needs --image.
    """
    if what not in FORMATS:
        raise ConfigError(
            f"{what!r} cannot be written{did_you_mean(what, FORMATS)}; write: orc export yaml PIPELINE, or "
            "orc export rayjob PIPELINE --image IMAGE"
        )
    job = load_job(pipeline, values or [])
    if what == "yaml":
        write(_file(job, pipeline).rstrip("\n"))
        return
    if image is None:
        raise ConfigError("a RayJob needs an image with Python, Ray, ray-orchestrator and the project: --image IMAGE")
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


def _file(job: Job, pipeline: str) -> str:
    """The graph for the given parameters, whose values are part of it."""
    traced = job.pipeline.trace(**job.params)
    params = params_in_words(traced.graph.params)
    return written_graph(traced, f"Written from {pipeline}" + (f" with {params}" if params else ""))


def _tag(name: str, value: str) -> tuple[str, str]:
    return "--tag", f"{name}={value}"
