"""Pictures and figures of a small model's answers, and that both depend on its weights."""

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

from pipeline import features
from pipeline.explanations.randomise_weights import randomise_weights
from pipeline.explanations.write_explanations import write_explanations
from pipeline.model_info import write_model_info
from pipeline.models.export_model import export_model
from pipeline.ood.class_gaussians import ClassGaussians
from pipeline.ood.image_limits import ImageLimits
from pipeline.run_record import RunRecord

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
    """A folder of ingested images with textures of many kinds."""
    folder = tmp_path_factory.mktemp("Split-test")
    rng = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(folder / "data-0.gz"), options="GZIP") as writer:
        for number in range(COUNT):
            pixels = rng.integers(0, 256, (8, 12, 3), dtype="uint8").repeat(8, axis=0).repeat(8, axis=1)
            feature = (example := tf.train.Example()).features.feature
            feature[features.IMAGE].bytes_list.value.append(tf.io.encode_png(pixels).numpy())
            feature[features.PATH].bytes_list.value.append(f"images/{number}.png".encode())
            feature[features.PATIENT].bytes_list.value.append(f"p{number}".encode())
            feature[features.LABEL].int64_list.value.append(number % 2)
            writer.write(example.SerializeToString())
    return folder


def test_pictures_and_json_agree_with_the_model(model: Path, examples: Path, tmp_path: Path) -> None:
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
        plain, overlay = (Image.open(file.parent / entry[name]) for name in ("image", "overlay"))
        assert plain.size == overlay.size == (96, 64)
    differing = [
        (file.parent / entry["image"]).read_bytes() != (file.parent / entry["overlay"]).read_bytes()
        for entry in tree["images"]
    ]
    assert any(differing)


def test_a_model_with_random_weights_looks_elsewhere(model: Path, examples: Path) -> None:
    loaded = tf.saved_model.load(str(model))
    explain = loaded.signatures[features.EXPLAIN_SIGNATURE]
    (record, *_) = tf.data.TFRecordDataset([str(examples / "data-0.gz")], compression_type="GZIP")
    image = tf.train.Example.FromString(record.numpy()).features.feature[features.IMAGE].bytes_list.value[0]
    maps: dict[int | None, np.ndarray] = {}
    for seed in (None, 0, 1, 0):
        if seed is not None:
            randomise_weights(loaded.variables, seed=seed)
        heat = explain(image=tf.constant([image]))[features.HEAT_MAP].numpy()
        assert np.isfinite(heat).all()
        if seed in maps:
            np.testing.assert_array_equal(heat, maps[seed])
        maps[seed] = heat
    assert np.abs(maps[None] - maps[0]).max() > 0.1 and np.abs(maps[0] - maps[1]).max() > 0.1
