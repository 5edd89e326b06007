"""The table of predictions: written, read and checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from knet.base.errors import UserError
from knet.evaluation.predictions import (
    binary_sample,
    check_scores,
    predictions_schema,
    read_predictions,
    write_predictions,
)


def test_read_predictions_merges_shards_sorted_by_image(
    make_predictions: Callable[..., Any], tmp_path: Path
) -> None:
    frame = make_predictions()
    for number, part in enumerate((frame[10:], frame[:10])):
        write_predictions(part, tmp_path / "predictions" / f"{number}.parquet")
    pd.testing.assert_frame_equal(
        read_predictions(tmp_path / "predictions"), frame.sort_values("image", ignore_index=True)
    )


def test_write_predictions_leaves_nothing_but_the_file(
    make_predictions: Callable[..., Any], tmp_path: Path
) -> None:
    write_predictions(make_predictions(), tmp_path / "a.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_read_predictions_duplicate_image_is_an_error(
    make_predictions: Callable[..., Any], tmp_path: Path
) -> None:
    frame = make_predictions()
    write_predictions(pd.concat([frame, frame[3:4]]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=f"two predictions of mobilenet for image {frame['image'][3]}"):
        read_predictions(tmp_path / "a.parquet")


@pytest.mark.parametrize("score", [math.nan, -0.5, 1.5])
def test_read_predictions_invalid_score_is_an_error(
    make_predictions: Callable[..., Any], tmp_path: Path, score: float
) -> None:
    frame = make_predictions()
    frame.loc[3, "score"] = np.float32(score)
    write_predictions(frame, tmp_path / "a.parquet")
    with pytest.raises(
        UserError, match=f"mobilenet: invalid probability {score} for image {frame['image'][3]}"
    ):
        read_predictions(tmp_path / "a.parquet")


def test_check_scores_accepts_probabilities() -> None:
    check_scores(np.array([0.0, 0.5, 1.0]), images=["a", "b", "c"], candidate="mobilenet")


def test_patient_sample_has_the_threshold_of_its_rows(make_predictions: Callable[..., Any]) -> None:
    frame = make_predictions()
    assert binary_sample(frame).metrics()["accuracy"] == 1
    strict = binary_sample(frame.assign(threshold=np.float32(1)))
    assert strict.metrics()["recall"] == 0 and strict.metrics()["specificity"] == 1


def test_patient_sample_without_rows_is_empty(make_predictions: Callable[..., Any]) -> None:
    assert len(binary_sample(make_predictions()[:0]).images) == 0


def test_predictions_schema_has_each_column_once() -> None:
    names = predictions_schema(["split", "patient", "slide"]).names
    assert names[-1] == "slide" and len(names) == len(set(names)) == 10
