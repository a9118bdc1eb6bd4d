"""Images: real photographs and digits to arrays, and what is broken to a record of it."""

from __future__ import annotations

import importlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sklearn.datasets
from sklearn.datasets import load_digits

from orchestrator.errors import ConfigError, NotFound
from stages.deployment import Predictor, model_to_payload
from stages.errors import DataRejected, RowRejected
from stages.features import fit_plan
from stages.preprocessing import decode_images
from stages.training import train_estimator

PHOTOGRAPHS = Path(sklearn.datasets.__file__).parent / "images"
CHINA, FLOWER = (str(PHOTOGRAPHS / name) for name in ("china.jpg", "flower.jpg"))


@pytest.fixture(scope="module", autouse=True)
def pillow() -> Any:
    if os.environ.get("CI") == "true":
        importlib.import_module("PIL")
    return pytest.importorskip("PIL.Image")


def png(pillow: Any, pixels: Any, **more: Any) -> bytes:
    target = io.BytesIO()
    pillow.fromarray(np.asarray(pixels, dtype=np.uint8)).save(target, "PNG", **more)
    return target.getvalue()


def test_files_become_arrays_of_one_shape(pillow: Any) -> None:
    done = decode_images(pa.table({"path": [CHINA, FLOWER], "n": [1, 2]}), "path", size=(20, 30), colours="rgb")
    assert done.shape == [20, 30, 3]
    assert done.table.column("pixels").type == pa.list_(pa.uint8(), 20 * 30 * 3)
    assert done.table.column("n").to_pylist() == [1, 2]
    assert done.failed.num_rows == 0
    china = np.array(done.table.column("pixels")[0].as_py()).reshape(20, 30, 3)
    with pillow.open(CHINA) as image:
        whole = np.asarray(image, dtype=float)
    np.testing.assert_allclose(china.mean(axis=(0, 1)), whole.mean(axis=(0, 1)), atol=2)
    assert china[:5].mean() > china[-5:].mean() + 40, "the sky is above"


def test_bytes_are_decoded_as_they_were_written(pillow: Any) -> None:
    digits = load_digits()
    pictures = [png(pillow, image * 15) for image in digits.images[:50]]
    done = decode_images(pa.table({"png": pictures}), "png", size=(8, 8), name="png")
    assert done.table.column_names == ["png"]
    assert (np.array(done.table.column("png").to_pylist()) == digits.data[:50] * 15).all()


def test_photographs_are_turned_upright(pillow: Any) -> None:
    picture = np.zeros((4, 8), dtype=np.uint8)
    picture[:, :4] = 200  # light on the left
    turned = pillow.Exif()
    turned[0x0112] = 6  # the camera was held upright: the left is the top
    column = pa.array([png(pillow, picture), png(pillow, picture, exif=turned.tobytes())])
    done = decode_images(pa.table({"png": column}), "png", size=(8, 8))
    plain, upright = (np.array(pixels).reshape(8, 8) for pixels in done.table.column("pixels").to_pylist())
    assert plain[:, 0].min() == 200 > plain[:, 7].max() == 0
    assert upright[0].min() == 200 > upright[7].max() == 0


def test_broken_images_are_named_and_kept_apart(pillow: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(Path(CHINA).read_bytes()[:20000])
    text = tmp_path / "text.png"
    text.write_text("no image at all")
    gone = str(tmp_path / "gone.jpg")
    paths = [CHINA, str(broken), str(text), gone, None, FLOWER]
    table = pa.table({"path": paths, "n": list(range(6))})
    with pytest.raises(DataRejected, match=r"4 of 6 images .* row 1: .*broken\.jpg: OSError: image file is truncated"):
        decode_images(table, "path")
    done = decode_images(table, "path", broken="drop")
    assert done.table.column("n").to_pylist() == [0, 5]
    assert done.failed.column("__row__").to_pylist() == [1, 2, 3, 4]
    assert done.failed.column("path").to_pylist() == paths[1:5]
    assert done.failed.column("__reason__").to_pylist()[1:] == [
        f"{text}: UnidentifiedImageError: cannot identify image file",
        f"{gone}: FileNotFoundError",
        "there is none",
    ]
    small = decode_images(table.slice(0, 1), "path", broken="drop", most_pixels=1000)
    assert small.failed.column("__reason__").to_pylist() == [f"{CHINA}: 640 × 427 pixels are too many"]
    assert small.table.num_rows == 0
    assert decode_images(table.slice(0, 0), "path").table.num_rows == 0


def test_what_holds_no_images_is_refused() -> None:
    table = pa.table({"path": [CHINA], "n": [1]})
    with pytest.raises(NotFound, match="Did you mean 'path'"):
        decode_images(table, "paths")
    with pytest.raises(DataRejected, match="Column 'n' holds int64; bytes of images or paths"):
        decode_images(table, "n")
    with pytest.raises(ConfigError, match="height and width of 1 to 4096"):
        decode_images(table, "path", size=(0, 8))
    with pytest.raises(ConfigError, match="colours of images is one of grey, rgb, not 'gray'"):
        decode_images(table, "path", colours="gray")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="nowhere"):
        decode_images(pa.table({"path": ["nowhere://x.png"]}), "path")


def test_pixels_are_learned_from_and_served(pillow: Any) -> None:
    digits = load_digits()
    column = pa.array([png(pillow, image * 15) for image in digits.images])
    done = decode_images(pa.table({"png": column, "digit": digits.target}), "png", size=(8, 8))
    steps = [{"vector": {"column": "pixels", "factor": 1 / 255}}]
    planned = fit_plan(done.table.slice(0, 1200), steps, keep=["digit"])
    assert planned.plan.inputs == {"pixels": "numbers"}
    model = train_estimator(planned.table, planned.plan, "digit", "sklearn.linear_model.LogisticRegression").model
    held = done.table.slice(1200)
    predicted = model.predict(held)
    assert (predicted.argmax(axis=1) == held.column("digit").to_numpy()).mean() > 0.9
    server = Predictor(model_to_payload(model))
    answer = server.predict(held.slice(0, 1).select(["pixels"]).to_pylist())[0]
    np.testing.assert_allclose(list(answer["probabilities"].values()), predicted[0], rtol=1e-9)
    with pytest.raises(RowRejected, match="'pixels' must be a list of finite numbers, not 'x'"):
        server.predict([{"pixels": "x"}])
    with pytest.raises(RowRejected, match="must be a list of finite numbers"):
        server.predict([{"pixels": [1.0, None]}])
    with pytest.raises(DataRejected, match="lists of other than 64 numbers in row 0"):
        server.predict([{"pixels": [1.0] * 63}])


def test_lists_that_are_no_vectors_are_refused() -> None:
    table = pa.table({"lists": [[1, 2], None, [3]], "none": pa.array([None] * 3, pa.list_(pa.int64())), "n": [1, 2, 3]})
    with pytest.raises(DataRejected, match="'lists' holds lists of other than 2 numbers in row 2"):
        fit_plan(table, [{"vector": {"column": "lists"}}])
    with pytest.raises(DataRejected, match="'none' holds no list to learn from in 3 rows"):
        fit_plan(table, [{"vector": {"column": "none"}}])
    with pytest.raises(DataRejected, match="'n' holds int64; lists of numbers are needed"):
        fit_plan(table, [{"vector": {"column": "n"}}])
    plan = fit_plan(table.slice(0, 2), [{"vector": {"column": "lists"}}])
    assert plan.table.to_pydict() == {"lists~0": [1.0, None], "lists~1": [2.0, None]}
