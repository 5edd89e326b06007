"""What became of every file."""

from __future__ import annotations

from pathlib import Path

from components.breakhis_example_gen.catalog import Catalog
from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.ingest_report import ingest_report
from components.breakhis_example_gen.quarantine import Quarantined
from components.breakhis_example_gen.sources.folder import Folder


def fate(path: str, patient: str, **further: str) -> dict[str, str]:
    return {"path": path, "patient": patient, "label": "benign", "split": "train", **further}


def test_every_file_is_counted_or_listed() -> None:
    catalog = Catalog(
        Folder(Path("/data")),
        images=(),
        quarantined=(Quarantined("z.txt", "outside the grammar"),),
        left_out=(ImageFile("copy.png", "benign", "1"),),
        passed_over=("README.txt",),
    )
    fates = [
        fate("a.png", "1", pixels="x"),
        fate("b.png", "1", pixels="x"),  # of the same patient: no leak
        fate("c.png", "2", pixels="y"),
        fate("e.png", "4", pixels="y", split="test"),
        fate("d.png", "3", pixels="y", split="validation", label="malignant"),
        fate("f.png", "4", reason="zero bytes"),
    ]
    assert ingest_report(catalog, fates, classes=("benign", "malignant")) == {
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
        "left_out": ["copy.png"],
        "passed_over": ["README.txt"],
        "duplicates": [
            [
                {"path": "c.png", "patient": "2", "split": "train"},
                {"path": "d.png", "patient": "3", "split": "validation"},
                {"path": "e.png", "patient": "4", "split": "test"},
            ]
        ],
    }
