"""The names that are shipped are those of the verified list."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from pipeline.data.official_archive import official_names


def test_counts_are_those_of_breakhis() -> None:
    names = official_names()
    counts = Counter((name.split("/")[0], name.split("/")[4]) for name in names)
    assert len(names) == 7909
    assert counts == {
        ("benign", "40X"): 625, ("benign", "100X"): 644, ("benign", "200X"): 623, ("benign", "400X"): 588,
        ("malignant", "40X"): 1370, ("malignant", "100X"): 1437, ("malignant", "200X"): 1390,
        ("malignant", "400X"): 1232,
    }  # fmt: skip


def test_names_are_those_of_the_verified_list(shared_data: Path) -> None:
    with (shared_data / "breakhis_manifest" / "breakhis_v1_files.csv").open(encoding="utf-8") as file:
        paths = {row["path"] for row in csv.DictReader(file)}
    assert {f"BreaKHis_v1/histology_slides/breast/{name}" for name in official_names()} == paths
