"""The manifest: only fields that KubeRay documents, resources by need, secrets by reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import Secret, pipeline, stage
from orchestrator.app.rayjob import HOME, Manifest, Shape, kubernetes_name, manifest
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError
from orchestrator.graph.pipeline import Pipeline

# Fields of RayJobSpec, RayClusterSpec, HeadGroupSpec and WorkerGroupSpec in version ray.io/v1 of KubeRay's API.
JOB = {
    "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "entrypoint", "entrypointNumCpus", "entrypointNumGpus",
    "entrypointResources", "jobId", "managedBy", "metadata", "rayClusterSpec", "runtimeEnvYAML",
    "shutdownAfterJobFinishes", "submissionMode", "submitterConfig", "submitterPodTemplate", "suspend",
    "ttlSecondsAfterFinished",
}  # fmt: skip
CLUSTER = {"autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec", "rayVersion", "suspend", "workerGroupSpecs"}
HEAD = {"enableIngress", "headService", "rayStartParams", "serviceType", "template"}
WORKERS = {"groupName", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams", "replicas", "template"}

CLUSTER_SETTINGS = {"ORC_STORE": "postgresql://orc@db/orc", "ORC_ARTIFACTS": "s3://bucket/orc"}


@stage(num_gpus=2, memory="26GiB", num_cpus=6)
def train(x: int, password: str) -> int:
    return x


@stage(resources={"licence": 1}, accelerator_type="A100", label_selector={"zone": "a"})
def check(x: int) -> int:
    return x


@stage
def light(x: int) -> int:
    return x


@pipeline
def demanding(x: int) -> int:
    return check(train(x, Secret("env:CRM_PASSWORD")))


@pipeline
def easy(x: int = 1) -> int:
    return light(x)


def made(flow: Pipeline[..., Any], shape: dict[str, Any] | None = None, **env: str) -> Manifest:
    given = {"image": "img:1", "ray_version": "2.60.0", "secret": "orc-it", "name": "it"} | (shape or {})
    settings = Settings.from_environment(CLUSTER_SETTINGS | env)
    return manifest(flow.graph(x=3), ["m:flow", "x=3", "note=a b"], settings, Shape(**given))


def containers(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    spec = body["spec"]["rayClusterSpec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        yield container


def test_it_has_only_documented_fields_and_all_that_are_needed() -> None:
    body = made(demanding).body
    assert (body["apiVersion"], body["kind"], body["metadata"]["name"]) == ("ray.io/v1", "RayJob", "it")
    spec = body["spec"]
    cluster = spec["rayClusterSpec"]
    assert spec.keys() <= JOB
    assert cluster.keys() <= CLUSTER
    assert cluster["headGroupSpec"].keys() <= HEAD
    (workers,) = cluster["workerGroupSpecs"]
    assert workers.keys() <= WORKERS
    assert all(isinstance(value, str) for value in workers["rayStartParams"].values())
    assert spec["entrypoint"] == "orc submit m:flow x=3 'note=a b'"
    assert (spec["backoffLimit"], spec["shutdownAfterJobFinishes"]) == (0, True)
    assert spec["ttlSecondsAfterFinished"] > 0
    assert cluster["rayVersion"] == "2.60.0"
    assert {container["image"] for container in containers(body)} == {"img:1"}
    json.dumps(body)


def test_workers_can_hold_the_largest_step() -> None:
    worker = list(containers(made(demanding).body))[1]
    assert worker["resources"]["limits"] == {"cpu": "6", "memory": "40Gi", "nvidia.com/gpu": "2"}
    small = list(containers(made(easy).body))[1]
    assert small["resources"]["requests"] == {"cpu": "2", "memory": "4Gi"}


def test_what_is_asked_for_wins() -> None:
    body = made(easy, {"workers": 7, "num_cpus": 16, "memory": 3 * 1024**3}).body
    (group,) = body["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (7, 7, 7)
    assert list(containers(body))[1]["resources"]["limits"] == {"cpu": "16", "memory": "3Gi"}


def test_resources_with_names_are_offered_and_what_only_a_person_knows_is_said() -> None:
    result = made(demanding)
    (group,) = result.body["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert json.loads(json.loads(group["rayStartParams"]["resources"])) == {"licence": 1.0}
    assert "A100" in result.advice[0]
    assert "zone=a" in result.advice[1]
    assert made(easy).advice == ()


def test_secrets_are_references_and_their_keys_are_told() -> None:
    result = made(demanding, ORC_STORE="postgresql://orc:geheim@db/orc")
    assert "geheim" not in json.dumps(result.body)
    assert result.keys == ("ORC_STORE", "CRM_PASSWORD", "ORC_SIGNING_KEY")
    for container in containers(result.body):
        variables = {variable["name"]: variable for variable in container["env"]}
        assert variables["ORC_STORE"]["valueFrom"]["secretKeyRef"] == {"name": "orc-it", "key": "ORC_STORE"}
        assert variables["ORC_ARTIFACTS"]["value"] == "s3://bucket/orc"
        assert variables["ORC_HOME"]["value"] == HOME
        assert variables["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["optional"] is True
    head, worker = containers(result.body)
    assert [variable["value"] for variable in head["env"] if variable["name"] == "ORC_RAY_ADDRESS"]
    assert not [variable for variable in worker["env"] if variable["name"] == "ORC_RAY_ADDRESS"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("ORC_STORE", "sqlite:////home/me/journal.db"), ("ORC_ARTIFACTS", "file:///home/me"), ("ORC_ARTIFACTS", "memory://x")],
)  # fmt: skip
def test_stores_of_this_machine_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .* pods do not see"):
        made(easy, **{name: value})


@pytest.mark.parametrize(
    ("text", "name"), [("Daily_Features", "daily-features"), ("x" * 99, "x" * 47), ("a/b.c-", "a-b-c"), ("__", "run")]
)
def test_names_are_those_that_kubernetes_takes(text: str, name: str) -> None:
    assert kubernetes_name(text) == name
