"""Served models of three classes with a positive group, and of many without, over every interface."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from command_line import Finished
from training_fixtures import build_hybrid

from knet.client import Client, by_patient
from knet.models.export import export_model
from knet.models.out_of_distribution import ClassGaussians, ImageLimits
from knet.serving.dev_server.server import DevServer, Options
from knet.serving.monitoring.read_log import read_log
from knet.serving.monitoring.request_log import LogObserver, RequestLog, pseudonymize

pytestmark = pytest.mark.slow

THREE = ("ductal", "lobular", "papillary")
MANY = tuple(f"class {number}" for number in range(18))
THRESHOLD = 0.25
KEY = b"0123456789abcdef"


@dataclass(frozen=True)
class Served:
    """A running server of a model, the model's outputs for two images, and their files."""

    server: DevServer
    log: Path
    outputs: dict[str, Any]
    images: list[Path]
    classes: tuple[str, ...]
    group: tuple[int, ...]


@pytest.fixture(scope="module", params=[(MANY, ()), (THREE, (1, 2))], ids=["many", "group"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of a model, which logs its requests."""
    folder = tmp_path_factory.mktemp("served")
    classes, group = request.param
    generator = np.random.default_rng(0)
    export_model(
        build_hybrid("mobilenet", classes=len(classes), lstm_units=4, dense_units=8),
        folder / "knet" / "7",
        size=32,
        classes=classes,
        temperature=0.5,
        threshold=THRESHOLD if group else None,
        gaussians=ClassGaussians.fit(generator.normal(size=(60, 8)), np.arange(60) % len(classes)),
        limits=ImageLimits(min_tissue=0.1, min_sharpness=100.0, max_sharpness=40_000.0, max_distance=6.0),
        positive=group,
    )
    images = [folder / name for name in ("a.png", "b.png")]
    for file, pixels in zip(images, generator.integers(0, 256, (2, 40, 60, 3), dtype="uint8"), strict=True):
        file.write_bytes(tf.io.encode_png(pixels).numpy())
    model = tf.saved_model.load(str(folder / "knet" / "7"))
    outputs = model.signatures["serving_default"](image=tf.constant([file.read_bytes() for file in images]))
    options = Options(observers=[LogObserver(RequestLog(folder / "log", key=KEY))])
    with DevServer(folder / "knet", port=0, rest_port=0, options=options) as server:
        arrays = {name: array.numpy() for name, array in outputs.items()}
        yield Served(server, folder / "log", arrays, images, classes, group)


def test_client_predicts_explains_and_decides_patients(served: Served) -> None:
    with Client(served.server.address) as client:
        predictions, explanations = client.predict(served.images), client.explain(served.images)
    probabilities = served.outputs["probabilities"].astype(float)
    assert [one.probabilities for one in predictions] == [
        dict(zip(served.classes, row, strict=True)) for row in probabilities.tolist()
    ]
    labels = [served.classes[index] for index in probabilities.argmax(axis=1)]
    assert [one.label for one in predictions] == [one.label for one in explanations] == labels
    assert [one.score for one in predictions] == [one.score for one in explanations]
    assert [one.score for one in predictions] == probabilities.max(axis=1).tolist()
    assert all(len(one.heat_map) and one.model_version == 7 for one in explanations)
    (patient,) = by_patient([("p", one) for one in predictions])
    assert patient.label == served.classes[probabilities.sum(axis=0).argmax()]
    if served.group:
        scores = served.outputs["positive_score"].astype(float)
        assert [one.positive_score for one in predictions] == scores.tolist()
        assert [one.positive for one in predictions] == (scores >= THRESHOLD).tolist()
        assert patient.positive_score == pytest.approx(scores.mean())
    else:
        assert {(one.threshold, one.positive_score, one.positive) for one in predictions} == {(None,) * 3}


def test_rest_rows_have_all_classes(served: Served) -> None:
    url = f"http://{served.server.rest_address}/v1/models/knet:predict"
    instances = [{"b64": base64.b64encode(file.read_bytes()).decode()} for file in served.images]
    with urllib.request.urlopen(url, json.dumps({"instances": instances}).encode()) as reply:
        rows = json.load(reply)["predictions"]
    assert [row["classes"] for row in rows] == [list(served.classes)] * 2
    np.testing.assert_allclose(
        [row["probabilities"] for row in rows], served.outputs["probabilities"], atol=1e-6
    )
    assert {"positive_score", "threshold"} & set(rows[0]) == (
        {"positive_score", "threshold"} if served.group else set()
    )


def test_predict_command_prints_rows(served: Served, knet: Callable[..., Finished]) -> None:
    done = knet("predict", *served.images, "--server", served.server.address, "--format", "json")
    assert (done.code, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(
        [list(row["probabilities"].values()) for row in rows], served.outputs["probabilities"], atol=1e-6
    )
    assert [row.get("positive") for row in rows] == (
        (served.outputs["positive_score"] >= THRESHOLD).tolist() if served.group else [None, None]
    )


def test_grey_image_is_flagged(
    served: Served, knet: Callable[..., Finished], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    for mode in ("L", "I;16"):
        (tmp_path / "a.png").write_bytes(picture(mode))
        with Client(served.server.address) as client:
            (prediction,) = client.predict([tmp_path / "a.png"])
        assert not prediction.in_distribution and "not 8-bit RGB" in prediction.reasons
        assert "not 8-bit RGB" in knet("predict", tmp_path, "--server", served.server.address).stdout


def test_request_log_has_all_probabilities_and_the_patient(served: Served) -> None:
    with Client(served.server.address) as client:
        client.predict(served.images, patient="14-9 é")
    served.server.stop()  # the log is written behind the answers
    frame = read_log([served.log]).frame.tail(2)
    rows = [list(row.values()) for row in frame["probabilities"]]
    np.testing.assert_allclose(sorted(rows), sorted(served.outputs["probabilities"].tolist()), atol=1e-6)
    assert frame["patient"].tolist() == [pseudonymize("14-9 é", key=KEY)] * 2
    assert frame["positive_score"].notna().tolist() == [bool(served.group)] * 2
