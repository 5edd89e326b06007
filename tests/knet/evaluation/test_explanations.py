"""Explanations of a small model, which depend on its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from knet.base import schema_names
from knet.evaluation.explanations import (
    pick_images,
    pick_images_of_classes,
    randomise_weights,
    similarity,
    write_explanations,
)
from knet.models.export import export_model
from knet.models.model_info import write_model_info
from knet.models.out_of_distribution import ClassGaussians, ImageLimits
from knet.runs.record import RunRecord

SIZE, COUNT = 64, 9


@pytest.fixture(scope="module")
def model(
    tiny_hybrid: Callable[[int], keras.Model],
    make_record: Callable[..., RunRecord],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of an exported model with random weights."""
    info = make_record().candidates["mobilenet"].info
    calibration = replace(info.calibration, threshold=0.5)
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_model(
        tiny_hybrid(SIZE),
        folder,
        size=SIZE,
        classes=info.classes,
        temperature=1.0,
        threshold=calibration.threshold,
        gaussians=ClassGaussians(np.zeros((1, 8)), np.eye(8)),
        limits=ImageLimits(0, 0, 1e6, 1e6),
    )
    write_model_info(folder, replace(info, calibration=calibration))
    return folder


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ingested images with random textures."""
    folder = tmp_path_factory.mktemp("Split-test")
    rng = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(folder / "data-0.gz"), options="GZIP") as writer:
        for number in range(COUNT):
            pixels = rng.integers(0, 256, (8, 12, 3), dtype="uint8").repeat(8, axis=0).repeat(8, axis=1)
            feature = (example := tf.train.Example()).features.feature
            feature[schema_names.IMAGE].bytes_list.value.append(tf.io.encode_png(pixels).numpy())
            feature[schema_names.PATH].bytes_list.value.append(f"images/{number}.png".encode())
            feature[schema_names.PATIENT].bytes_list.value.append(f"p{number}".encode())
            feature[schema_names.LABEL].int64_list.value.append(number % 2)
            writer.write(example.SerializeToString())
    return folder


@pytest.mark.slow
def test_write_explanations_agree_with_the_model(model: Path, examples: Path, tmp_path: Path) -> None:
    file = write_explanations(model, examples, tmp_path / "report", count=2)
    tree = json.loads(file.read_text("utf-8"))
    assert tree["draws"] == 5 and -1 <= tree["similarity"] <= 1
    kinds = [entry["kind"] for entry in tree["images"]]
    assert kinds == sorted(kinds, key=("certain", "wrong", "uncertain").index)
    assert set(kinds) == {"certain", "wrong", "uncertain"}
    assert len({entry["path"] for entry in tree["images"]}) == len(kinds) <= 6
    for entry in tree["images"]:
        called = "malignant" if entry["score"] >= 0.5 else "benign"
        assert entry["called"] == called
        assert entry["label"] == ("benign", "malignant")[int(Path(entry["path"]).stem) % 2]
        if entry["kind"] != "uncertain":
            assert (entry["called"] == entry["label"]) == (entry["kind"] == "certain")
        for name in ("image", "overlay"):
            with Image.open(file.parent / entry[name]) as picture:
                assert picture.size == (96, 64)
    differing = [
        (file.parent / entry["image"]).read_bytes() != (file.parent / entry["overlay"]).read_bytes()
        for entry in tree["images"]
    ]
    assert any(differing)


def test_randomise_weights_changes_heat_maps(model: Path, examples: Path) -> None:
    loaded = tf.saved_model.load(str(model))
    explain = loaded.signatures[schema_names.EXPLAIN_SIGNATURE]
    (record, *_) = tf.data.TFRecordDataset([str(examples / "data-0.gz")], compression_type="GZIP")
    image = (
        tf.train.Example.FromString(record.numpy()).features.feature[schema_names.IMAGE].bytes_list.value[0]
    )
    maps: dict[int | None, np.ndarray] = {}
    for seed in (None, 0, 1, 0):
        if seed is not None:
            randomise_weights(loaded.variables, seed=seed)
        heat = explain(image=tf.constant([image]))[schema_names.HEAT_MAP].numpy()
        assert np.isfinite(heat).all()
        if seed in maps:
            np.testing.assert_array_equal(heat, maps[seed])
        maps[seed] = heat
    assert np.abs(maps[None] - maps[0]).max() > 0.1 and np.abs(maps[0] - maps[1]).max() > 0.1


def pick(scores: list[float], labels: list[int], patients: str, *, count: int = 2) -> dict[str, list[int]]:
    return pick_images(np.array(scores), np.array(labels), list(patients), threshold=0.4, count=count)


def test_pick_images_most_typical_first_and_none_twice() -> None:
    scores, labels = [0.995, 0.01, 0.98, 0.45, 0.9, 0.35], [1, 0, 0, 0, 1, 0]
    assert pick(scores, labels, "abcdef") == {"certain": [0, 1], "wrong": [2, 3], "uncertain": [5, 4]}


def test_pick_images_of_three_classes_by_their_probability_and_lead() -> None:
    probabilities = np.array(
        [[0.9, 0.05, 0.05], [0.1, 0.7, 0.2], [0.4, 0.38, 0.22], [0.05, 0.05, 0.9], [0.6, 0.3, 0.1]]
    )
    labels = np.array([0, 1, 0, 1, 2])
    picked = pick_images_of_classes(probabilities, labels, list("abcde"), count=2)
    assert picked == {"certain": [0, 1], "wrong": [3, 4], "uncertain": [2]}


def test_pick_images_one_image_per_patient_and_kind() -> None:
    picked = pick([0.99, 0.98, 0.97, 0.96], [1, 1, 1, 1], "aaab")
    assert picked["certain"] == [0, 3]
    assert picked["wrong"] == []


def test_pick_images_fewer_than_requested() -> None:
    assert pick([0.9], [1], "a", count=5) == {"certain": [0], "wrong": [], "uncertain": []}


def test_randomise_weights_he_kernels_and_neutral_rest() -> None:
    shapes = {
        "kernel": (200, 300),
        "conv/kernel": (3, 3, 40, 50),
        "depthwise_kernel": (3, 3, 2000, 1),
        "gamma": (5,),
        "moving_variance": (5,),
        "moving_mean": (5,),
        "bias": (5,),
    }
    variables = [tf.Variable(tf.fill(shape, 7.0), name=name) for name, shape in shapes.items()]
    counter = tf.Variable([3, 4], name="seed_generator_state")
    randomise_weights([*variables, counter], seed=0)
    found = dict(zip(shapes, (variable.numpy() for variable in variables), strict=True))
    for name, inputs in (("kernel", 200), ("conv/kernel", 360), ("depthwise_kernel", 9)):
        assert abs(found[name].var() * inputs / 2 - 1) < 0.05
    assert (found["gamma"] == 1).all() and (found["moving_variance"] == 1).all()
    assert (found["moving_mean"] == 0).all() and (found["bias"] == 0).all()
    np.testing.assert_array_equal(counter, [3, 4])


MAP = np.arange(12.0).reshape(3, 4)


def test_similarity_depends_on_ranks_alone() -> None:
    assert similarity(MAP, MAP**3) == pytest.approx(1)
    assert similarity(MAP, -MAP) == pytest.approx(-1)


@pytest.mark.parametrize(
    "other", [np.zeros((3, 4)), np.full((3, 4), np.nan), np.where(MAP == 3, np.inf, MAP)]
)
def test_similarity_of_constant_or_infinite_map_is_undefined(other: np.ndarray) -> None:
    assert similarity(MAP, other) is None
    assert similarity(other, MAP) is None
