"""External images of a cross-validation: which are usable, and their mean predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from knet.base import schema_names
from knet.base.errors import UserError
from knet.data.sample_data import write_sample_data
from knet.data.source import ImageFile
from pipeline.config.load import load_config
from pipeline.experiments.external import ExternalPredictions, open_external


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_sample_data(tmp_path / "data", patients=8, width=48, height=32)


def test_open_external_yields_every_usable_image(images: Path) -> None:
    damaged, *_ = sorted(images.rglob("*.png"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    with open_external(images, load_config("demo", ["data.max_invalid_fraction=0.5"])) as external:
        assert external.unusable == 1 and external.synthetic
        assert damaged.name not in [Path(image.path).name for image in external.images]
        batches = list(external.batches())
        assert sum(map(len, batches)) == len(external.images) == len(list(images.rglob("*.png"))) - 1
        assert all(content.startswith(b"\x89PNG") for batch in batches for content in batch)


def test_open_external_refuses_too_many_unusable_images(images: Path) -> None:
    damaged, *_ = sorted(images.rglob("*.png"))
    damaged.write_bytes(b"")
    with (
        pytest.raises(UserError, match=rf"cannot be used(.|\n)*{damaged.name}"),
        open_external(images, load_config("demo", ["data.max_invalid_fraction=0"])),
    ):
        pass


def test_open_external_names_its_option(tmp_path: Path) -> None:
    config = load_config("demo")
    with (
        pytest.raises(UserError, match=r"^--external: .*missing"),
        open_external(tmp_path / "missing", config),
    ):
        pass


def test_open_external_refuses_folds_that_divide_patients(images: Path) -> None:
    config = load_config("demo", ["data.split.unit=image", "data.split.allow_patient_leak=true"])
    with pytest.raises(UserError, match=r"data\.split\.unit=image"), open_external(images, config):
        pass


def test_external_predictions_are_means_over_models() -> None:
    image = ImageFile("a.png", "mucinous", "p0", (("magnification", "40X"),))
    predictions = ExternalPredictions(["ductal", "lobular", "mucinous"])
    for row in ([0.2, 0.5, 0.3], [0.0, 0.1, 0.9]):
        predictions.add("deep", 7, [image], np.array([row], "float32"), threshold=None)
    (row,) = predictions.frame().to_dict("records")
    np.testing.assert_allclose(row[schema_names.PROBABILITIES], [0.1, 0.3, 0.6], atol=1e-6)
    assert row[schema_names.SCORE] == pytest.approx(0.6)
    assert (row[schema_names.LABEL], row["models"], row["seed"], row["magnification"]) == (2, 2, 7, "40X")
    assert np.isnan(row[schema_names.THRESHOLD])
