"""Executor of KnetEvaluator: TFMA metrics against NumPy on every slice, and the predictions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_model_analysis as tfma

from knet.base import schema_names
from knet.base.errors import UserError
from knet.evaluation.binary_metrics import METRICS, BinarySample
from knet.evaluation.multiclass_metrics import MulticlassSample
from knet.evaluation.predictions import FOLDER, binary_sample, prediction_sample, read_predictions
from knet.evaluation.tfma_config import CONFUSION, IMAGES, SliceKey, read_metrics

pytestmark = pytest.mark.slow

_AREAS = ("roc_auc", "pr_auc")  # TFMA has them from thresholds


@pytest.fixture(scope="module")
def samples(evaluation: Path) -> dict[SliceKey, BinarySample]:
    """Samples of every slice, from the predictions."""
    frame = read_predictions(evaluation / FOLDER)
    found = {}
    for columns in ([], ["magnification"], ["subtype"], ["magnification", "subtype"]):
        for rows in frame.groupby([schema_names.SPLIT, *columns]).groups.values():
            part = frame.loc[rows]
            key = frozenset((column, part[column].iloc[0]) for column in [schema_names.SPLIT, *columns])
            found[key] = binary_sample(part)
    return found


def test_evaluator_writes_the_predictions_of_the_model(
    evaluation: Path, evaluated_rows: list[dict[str, Any]]
) -> None:
    frame = read_predictions(evaluation / FOLDER)
    assert list(frame[schema_names.IMAGE_PATH]) == sorted(row[schema_names.PATH] for row in evaluated_rows)
    by_image = {row[schema_names.PATH]: row for row in evaluated_rows}
    for row in frame.to_dict("records"):
        expected = by_image[row[schema_names.IMAGE_PATH]]
        assert row[schema_names.SCORE] == pytest.approx(expected[schema_names.SCORE])
        assert row[schema_names.IN_DISTRIBUTION] == (row[schema_names.SCORE] < 0.85)
        assert row[schema_names.DISTANCE] == pytest.approx(10 * expected[schema_names.SCORE], rel=1e-6)
        for name in (
            schema_names.LABEL,
            schema_names.PATIENT,
            schema_names.SPLIT,
            "slide",
            "magnification",
            "subtype",
        ):
            assert row[name] == expected[name]
    assert set(frame["candidate"]) == {"parrot"} and set(frame["threshold"]) == {0.375}
    assert schema_names.IMAGE not in frame


def test_evaluator_slices_by_split_columns_and_pairs(
    evaluation: Path, samples: dict[SliceKey, BinarySample]
) -> None:
    found = read_metrics(evaluation)
    assert set(found) == set(samples)
    assert {len(key) for key in found} == {1, 2, 3}


def test_evaluator_metrics_equal_numpy_on_every_slice(
    evaluation: Path, samples: dict[SliceKey, BinarySample]
) -> None:
    for key, found in read_metrics(evaluation).items():
        expected = samples[key].metrics()
        assert found[IMAGES] == len(samples[key].images)
        for name in set(METRICS) - set(_AREAS):
            assert found[name] == pytest.approx(expected[name], abs=1e-6, nan_ok=True), (key, name)
        # Scores are tenths here, so thresholds miss nothing of the ROC; the other curve TFMA interpolates.
        # Over one class TFMA says 0.
        defined = not math.isnan(expected["roc_auc"])
        assert found["roc_auc"] == pytest.approx(expected["roc_auc"] if defined else 0, abs=1e-3), key


def test_evaluator_confusion_matrix_is_of_the_predictions(
    evaluation: Path, samples: dict[SliceKey, BinarySample]
) -> None:
    for key, outputs in tfma.load_eval_result(str(evaluation)).slicing_metrics:
        (matrix,) = outputs[""][""][CONFUSION]["confusionMatrixAtThresholds"]["matrices"]
        expected = samples[frozenset(key)].confusion()
        found = {_snake_case(name): value for name, value in matrix.items()}  # zeros are left out
        assert {name: float(found.get(name, 0)) for name in expected} == expected


def _snake_case(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def test_evaluator_metrics_that_need_two_classes_are_undefined(evaluation: Path) -> None:
    found = read_metrics(evaluation)[frozenset({(schema_names.SPLIT, "test"), ("subtype", "adenosis")})]
    assert math.isnan(found["balanced_accuracy"]) and math.isnan(found["recall"])
    assert 0 <= found["patient_recognition_rate"] <= 1


@pytest.mark.parametrize("slices", [[], [schema_names.PATIENT]], ids=["none", "patient"])
def test_evaluator_with_other_slices_has_the_same_metrics(
    evaluate: Callable[..., Path], evaluated_rows: list[dict[str, Any]], slices: list[str]
) -> None:
    folder = evaluate(evaluated_rows, slices)
    frame = read_predictions(folder / FOLDER)
    found = read_metrics(folder)
    for columns in {(), tuple(slices)}:
        for rows in frame.groupby([schema_names.SPLIT, *columns]).groups.values():
            part = frame.loc[rows]
            key = frozenset((name, part[name].iloc[0]) for name in (schema_names.SPLIT, *columns))
            metrics, expected = found.pop(key), binary_sample(part).metrics()
            for name in ("accuracy", "patient_recognition_rate"):
                assert metrics[name] == pytest.approx(expected[name])
    assert not found


def test_evaluator_refuses_a_score_that_is_no_probability(
    evaluate: Callable[..., Path], evaluated_rows: list[dict[str, Any]]
) -> None:
    broken = [
        {**row, schema_names.SCORE: "nan" if number == 7 else row[schema_names.SCORE]}
        for number, row in enumerate(evaluated_rows)
    ]
    message = f"parrot: invalid probability nan for image {evaluated_rows[7][schema_names.PATH]}, "
    with pytest.raises(UserError, match=message):
        evaluate(broken)


def test_evaluator_metrics_of_two_classes_are_the_recorded_ones(evaluation: Path, two_classes: Any) -> None:
    found = {_slice_name(key): metrics for key, metrics in read_metrics(evaluation).items()}
    assert found.keys() == two_classes["tfma"].keys()
    for name, metrics in found.items():
        expected = {key: math.nan if v is None else v for key, v in two_classes["tfma"][name].items()}
        assert metrics == pytest.approx(expected, rel=1e-9, nan_ok=True), name


def _slice_name(key: SliceKey) -> str:
    return ", ".join(f"{column}={value}" for column, value in sorted(key))


def test_evaluator_metrics_of_three_classes_equal_numpy_on_every_slice(evaluation_of_three: Path) -> None:
    frame = read_predictions(evaluation_of_three / FOLDER)
    classes = ("fat", "stroma", "tumor")
    found = read_metrics(evaluation_of_three)
    assert len(found) == 2 * (1 + 3)
    for key, metrics in found.items():
        part = frame
        for column, value in key:
            part = part[part[column] == value]
        sample = prediction_sample(part, classes=classes)
        assert isinstance(sample, MulticlassSample)
        expected = {IMAGES: len(part), **sample.all_metrics(classes)}
        assert metrics == pytest.approx(expected, abs=1e-6, nan_ok=True), key


def test_evaluator_metrics_of_a_positive_group_equal_numpy_on_every_slice(
    evaluation_with_group: Path, evaluation_of_three: Path
) -> None:
    frame = read_predictions(evaluation_with_group / FOLDER)
    threshold = frame[schema_names.THRESHOLD].iloc[0]
    assert threshold == 0.375
    without, found = read_metrics(evaluation_of_three), read_metrics(evaluation_with_group)
    for key, metrics in found.items():
        part = frame
        for column, value in key:
            part = part[part[column] == value]
        probabilities = np.stack(part[schema_names.PROBABILITIES])
        group = BinarySample(
            images=part[schema_names.IMAGE_PATH].to_numpy(),
            patients=part[schema_names.PATIENT].to_numpy(),
            labels=part[schema_names.LABEL].isin([0, 2]).to_numpy().astype(int),
            scores=np.minimum(probabilities[:, 0] + probabilities[:, 2], 1),
            threshold=threshold,
            mixed_patients=True,
        )
        expected = {f"positive_{name}": value for name, value in group.metrics().items()}
        assert metrics == pytest.approx({**without[key], **expected}, abs=1e-6, nan_ok=True), key


def test_evaluator_of_three_classes_writes_their_probabilities(
    evaluation_of_three: Path, evaluated_rows_of_three: list[dict[str, Any]]
) -> None:
    frame = read_predictions(evaluation_of_three / FOLDER)
    by_image = {row[schema_names.PATH]: row for row in evaluated_rows_of_three}
    for row in frame.to_dict("records"):
        expected = by_image[row[schema_names.IMAGE_PATH]]
        probabilities = [float(text) for text in expected[schema_names.SCORE].split()]
        assert row[schema_names.PROBABILITIES].tolist() == pytest.approx(probabilities)
        assert row[schema_names.SCORE] == pytest.approx(max(probabilities))
        assert row[schema_names.LABEL] == expected[schema_names.LABEL]
    assert frame[schema_names.THRESHOLD].isna().all()


def test_evaluator_metrics_of_a_class_without_test_images_are_undefined(evaluation_of_three: Path) -> None:
    found = read_metrics(evaluation_of_three)[frozenset({(schema_names.SPLIT, "test")})]
    assert math.isnan(found["recall/tumor"]) and found["support/tumor"] == 0
    assert found["balanced_accuracy"] == (found["recall/fat"] + found["recall/stroma"]) / 2
