"""``orc submit``, ``orc export`` and ``orc show --follow`` as far as no cluster is needed."""

from __future__ import annotations

import pytest
import yaml

from orchestrator.backends.jobs import JobClient
from orchestrator.backends.loopback import free_ports
from orchestrator.errors import ConfigError
from tests.cli.conftest import FLOW, Done, Orc

CLUSTER = {"ORC_STORE": "postgresql://orc:geheim@db/orc", "ORC_ARTIFACTS": "s3://bucket/orc"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((f"{FLOW}:numbers",), 2, "there is no cluster to submit to; set ORC_RAY_ADDRESS"),
        ((f"{FLOW}:miswired",), 2, "flow.py:"),
        ((), 2, "name a pipeline to run, or with --resume"),
        ((f"{FLOW}:numbers", "--resume", "x"), 2, "name a pipeline to run, or with --resume"),
        (("--resume", "nothing"), 4, "ORC-150"),
    ],
)
def test_what_cannot_be_submitted_is_refused_in_one_line(
    orc: Orc, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = orc("submit", *arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_cluster_that_is_not_there_is_said_at_once_and_nothing_is_created(orc: Orc) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    for given in (address, f"http://{address}"):
        done = orc("submit", f"{FLOW}:numbers", ORC_RAY_ADDRESS=given)
        assert (done.code, done.out) == (5, "")
        assert f"no Ray cluster answers at {given}" in done.err
    assert orc("ls", "--json").document("ls") == []


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "http://"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        JobClient(address)


def test_an_ended_run_is_not_submitted_again(used: tuple[Orc, Done]) -> None:
    orc, _ = used
    done = orc("submit", "--resume", orc.newest())
    assert (done.code, "has ended (succeeded)" in done.err) == (1, True)


def test_a_run_is_followed_to_its_end(used: tuple[Orc, Done]) -> None:
    orc, first = used
    followed = orc("show", "--follow", orc.newest())
    assert followed.code == 0
    assert followed.out == first.out
    assert "succeeded square  3 succeeded" in followed.err


def test_a_manifest_is_written_as_data_and_what_it_needs_is_told(orc: Orc) -> None:
    done = orc(
        "export", "rayjob", f"{FLOW}:numbers", "n=3", "--image", "team/churn:7", "--workers", "3", "--tag", "a=b",
        **CLUSTER,
    )  # fmt: skip
    assert done.code == 0, done.err
    body = yaml.safe_load(done.out)
    assert (body["kind"], body["metadata"]["name"]) == ("RayJob", "numbers")
    assert body["spec"]["entrypoint"] == f"orc submit {FLOW}:numbers n=3 --tag a=b"
    assert body["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 3
    assert "geheim" not in done.out
    assert "&" not in done.out
    assert (
        "kubectl create secret generic orc-numbers --from-literal=ORC_STORE=… --from-literal=ORC_SIGNING_KEY=…"
        in done.err
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("rayjobs", f"{FLOW}:numbers", "--image", "i"), "did you mean 'rayjob'"),
        (("rayjob", f"{FLOW}:numbers"), "--image"),
        (("rayjob", f"{FLOW}:numbers", "m=1", "--image", "i"), "no parameter of this pipeline"),
        (("rayjob", f"{FLOW}:numbers", "--image", "i"), "ORC_STORE is sqlite"),
    ],
)
def test_a_wrong_export_is_refused(orc: Orc, arguments: tuple[str, ...], told: str) -> None:
    done = orc("export", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
