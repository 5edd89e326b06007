"""Weights files that fit a backbone, and those that do not, as Keras itself loads or refuses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import pytest

from knet.base.errors import UserError
from knet.models.backbones import BACKBONES
from knet.models.weights_file import check_weights_file

BODIES = {"quarter": ("mobilenet", 0.25), "half": ("mobilenet", 0.5), "vgg16": ("vgg16", None)}
FILES = ("quarter.weights.h5", "quarter.keras", "quarter.h5", "top.weights.h5", "top.h5", "first.weights.h5")


def build(body: str, weights: Path | None = None) -> Any:
    name, alpha = BODIES[body]
    extra = {} if alpha is None else {"alpha": alpha}
    return BACKBONES[name].build(include_top=False, weights=weights, input_shape=(32, 32, 3), **extra)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a quarter of MobileNet's width, with and without top, in each format of Keras."""
    folder = tmp_path_factory.mktemp("weights")
    quarter = build("quarter")
    quarter.save_weights(folder / "quarter.weights.h5")
    quarter.save(folder / "quarter.keras")
    quarter.save(folder / "quarter.h5")
    top = keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(32, 32, 3), classes=2)
    top.save_weights(folder / "top.weights.h5")
    top.save(folder / "top.h5")
    keras.Model(quarter.input, quarter.get_layer("conv1").output).save_weights(folder / "first.weights.h5")
    return folder


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("file", FILES)
def test_check_weights_file_agrees_with_keras(folder: Path, file: str, body: str) -> None:
    name, alpha = BODIES[body]
    try:
        build(body, folder / file)
    except ValueError:
        with pytest.raises(UserError, match=f"{file} does not fit"):
            check_weights_file(folder / file, name, candidate=name, alpha=alpha, size=32)
    else:
        check_weights_file(folder / file, name, candidate=name, alpha=alpha, size=32)


@pytest.mark.parametrize(
    ("file", "body", "held", "wanted"),
    [
        ("quarter.h5", "half", "layer conv1 (3, 3, 3, 8)", "layer conv1 (3, 3, 3, 16)"),
        ("quarter.keras", "half", "layer conv1 (3, 3, 3, 8)", "layer conv1 (3, 3, 3, 16)"),
        ("quarter.keras", "vgg16", "layer conv1 (3, 3, 3, 8)", "layer block1_conv1 (3, 3, 3, 64), (64,)"),
        ("top.h5", "quarter", "layer conv_preds (1, 1, 256, 2), (2,)", "no layer"),
        ("first.weights.h5", "quarter", "no layer", "layer conv1_bn (8,), (8,), (8,), (8,)"),
    ],
)
def test_check_weights_file_names_the_first_layer_that_differs(
    folder: Path, file: str, body: str, held: str, wanted: str
) -> None:
    name, alpha = BODIES[body]
    with pytest.raises(UserError) as caught:
        check_weights_file(folder / file, name, candidate=name, alpha=alpha, size=32)
    assert str(caught.value).startswith(f"candidates.{name}.weights: {folder / file} does not fit {name}")
    assert f": {held} in the file where the backbone has {wanted}; give weights" in str(caught.value)


def test_check_weights_file_reads_published_weights(shared_data: Path) -> None:
    for number, alpha in (("2", 0.25), ("7", 0.75)):
        file = shared_data / "weights" / f"mobilenet_{number}_5_224_tf_no_top.h5"
        check_weights_file(file, "mobilenet", candidate="mobilenet", alpha=alpha, size=64)


def test_check_weights_file_reads_the_groups_of_keras_2(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "old.weights.h5"
    file.write_bytes((folder / "quarter.weights.h5").read_bytes())
    with h5py.File(file, "r+") as opened:
        opened.move("layers", "_layer_checkpoint_dependencies")
    build("quarter", file)
    check_weights_file(file, "mobilenet", candidate="mobilenet", alpha=0.25, size=32)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("w.npz", "must end in .h5"), ("w.h5", "cannot be read"), ("w.keras", "cannot be read")],
)
def test_check_weights_file_refuses_another_file(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(UserError, match=reason):
        check_weights_file(tmp_path / name, "mobilenet", candidate="mobilenet", alpha=0.25, size=32)
