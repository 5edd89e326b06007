"""Examples and the report of an ingestion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from knet.base import schema_names
from knet.base.errors import UnusableError
from knet.base.image_scalars import image_scalars
from knet.base.protos import Example
from knet.data.catalog import Catalog
from knet.data.folders import Folder
from knet.data.image_checks import Quarantined, validate_image
from knet.data.ingest import ingest_report, make_example
from knet.data.source import ImageFile

CLASSES = ("benign", "malignant")
IMAGE = ImageFile(
    path="malignant/SOB/ductal_carcinoma/SOB_M_DC_14-22549AB/100X/SOB_M_DC-14-22549AB-100-003.png",
    label="malignant",
    patient="14-22549",
    columns=(("slide", "14-22549AB"), ("magnification", "100X")),
)


def values(record: bytes) -> dict[str, list[int] | list[bytes] | list[float]]:
    feature = Example.FromString(record).features.feature
    return {name: list(getattr(of, of.WhichOneof("kind")).value) for name, of in feature.items()}


def test_make_example_has_all_features(picture: Callable[..., bytes]) -> None:
    content = picture(size=(70, 46), colour=(200, 80, 160))
    ingested = make_example(IMAGE, content, split="validation", classes=CLASSES)
    scalars = image_scalars(validate_image(content).pixels)
    assert values(ingested.record) == {
        schema_names.IMAGE: [content],
        schema_names.LABEL: [1],
        schema_names.PATH: [IMAGE.path.encode()],
        schema_names.WIDTH: [70],
        schema_names.HEIGHT: [46],
        schema_names.PATIENT: [b"14-22549"],
        schema_names.SPLIT: [b"validation"],
        "slide": [b"14-22549AB"],
        "magnification": [b"100X"],
        **{name: [pytest.approx(value, rel=1e-6)] for name, value in scalars.items()},
    }


def test_make_example_labels_by_the_order_of_classes(picture: Callable[..., bytes]) -> None:
    ingested = make_example(IMAGE, picture(), split="train", classes=("malignant", "benign"))
    assert values(ingested.record)[schema_names.LABEL] == [0]


def test_make_example_is_deterministic(picture: Callable[..., bytes]) -> None:
    one, other = (make_example(IMAGE, picture(), split="train", classes=CLASSES) for _ in range(2))
    assert one == other


def test_make_example_hashes_the_pixels(picture: Callable[..., bytes]) -> None:
    def pixel_hash(content: bytes) -> str:
        return make_example(IMAGE, content, split="train", classes=CLASSES).pixel_hash

    same = pixel_hash(picture(colour=(1, 2, 3)))
    assert pixel_hash(picture(colour=(1, 2, 3), kind="TIFF")) == same
    assert pixel_hash(picture(colour=(1, 2, 4))) != same
    assert pixel_hash(picture(colour=(1, 2, 3), size=(32, 40))) != same  # as many pixels, in other rows


@pytest.mark.parametrize("kept", [0, 20, -30])
def test_make_example_of_a_truncated_image_is_refused(picture: Callable[..., bytes], kept: int) -> None:
    with pytest.raises(UnusableError):
        make_example(IMAGE, picture(size=(70, 46))[:kept], split="train", classes=CLASSES)


def status(path: str, patient: str, **further: str) -> dict[str, str]:
    return {"path": path, "patient": patient, "label": "benign", "split": "train", **further}


def test_ingest_report_counts_or_lists_every_file() -> None:
    catalog = Catalog(
        Folder(Path("/data")),
        images=(),
        quarantined=(Quarantined("z.txt", "outside the grammar"),),
        excluded_duplicates=(ImageFile("copy.png", "benign", "1"),),
        ignored_files=("README.txt",),
    )
    statuses = [
        status("a.png", "1", pixels="x"),
        status("b.png", "1", pixels="x"),  # of the same patient: no leak
        status("c.png", "2", pixels="y"),
        status("e.png", "4", pixels="y", split="test"),
        status("d.png", "3", pixels="y", split="validation", label="malignant"),
        status("f.png", "4", reason="zero bytes"),
    ]
    assert ingest_report(catalog, statuses, classes=("benign", "malignant")) == {
        "images": {
            "train": {"benign": 3, "malignant": 0},
            "validation": {"benign": 0, "malignant": 1},
            "test": {"benign": 1, "malignant": 0},
        },
        "patients": {
            "train": {"benign": 2, "malignant": 0},
            "validation": {"benign": 0, "malignant": 1},
            "test": {"benign": 1, "malignant": 0},
        },
        "quarantined": [
            {"path": "f.png", "reason": "zero bytes"},
            {"path": "z.txt", "reason": "outside the grammar"},
        ],
        "excluded_duplicates": ["copy.png"],
        "ignored_files": ["README.txt"],
        "duplicates": [
            [
                {"path": "c.png", "patient": "2", "split": "train"},
                {"path": "d.png", "patient": "3", "split": "validation"},
                {"path": "e.png", "patient": "4", "split": "test"},
            ]
        ],
    }
