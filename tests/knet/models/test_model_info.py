"""Model metadata is read as it was written, by earlier versions too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from knet.models.model_info import Decision, read_decision, read_model_card, read_model_info, write_model_info
from knet.runs.record import RunRecord


def test_model_info_is_read_from_model_and_artifact(
    make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    info = make_record().candidates["mobilenet"].info
    write_model_info(tmp_path / "Format-Serving", info)
    assert read_model_info(tmp_path / "Format-Serving") == info
    assert read_model_info(tmp_path) == info
    assert read_decision(tmp_path) == Decision(info.classes, info.positive, info.calibration.threshold)


@pytest.mark.parametrize("former", [True, False])
def test_model_info_reads_former_names_of_limits(
    make_record: Callable[..., RunRecord], tmp_path: Path, former: bool
) -> None:
    info = make_record().candidates["mobilenet"].info
    write_model_info(tmp_path, info)
    file = tmp_path / "assets.extra" / "knet.json"
    tree = json.loads(file.read_text("utf-8"))
    limits = tree["image_limits"]
    assert list(limits) == ["min_tissue", "min_sharpness", "max_sharpness", "max_distance"]
    if former:
        names = ("min_tissue", "min_sharpness", "max_sharpness", "max_distance")
        tree["image_limits"] = dict(zip(names, limits.values(), strict=True))
    file.write_text(json.dumps(tree), "utf-8")
    assert read_model_info(tmp_path) == info
    assert read_model_card(tmp_path) == {**tree, "image_limits": limits}
