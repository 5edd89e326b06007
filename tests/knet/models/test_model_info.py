"""What a model says about itself is read back as it was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from knet.models.model_info import read_model_info, read_threshold, write_model_info
from knet.runs.record import RunRecord


def test_it_is_read_back_from_the_model_and_from_its_artifact(
    make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    info = make_record().candidates["mobilenet"].info
    write_model_info(tmp_path / "Format-Serving", info)
    assert read_model_info(tmp_path / "Format-Serving") == info
    assert read_model_info(tmp_path) == info
    assert read_threshold(tmp_path) == info.calibration.threshold
