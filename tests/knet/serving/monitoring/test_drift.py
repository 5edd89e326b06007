"""Tests of the drift of a model's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from monitoring_fixtures import with_three_classes

from knet.base import schema_names
from knet.base.errors import UserError
from knet.serving.monitoring.drift import (
    bucket_edges,
    count_buckets,
    js_divergence,
    measure_output_drift,
    scalar_thresholds,
)


def test_js_divergence_of_equal_and_disjoint_histograms() -> None:
    assert js_divergence(np.array([3.0, 1.0]), np.array([6.0, 2.0])) == pytest.approx(0, abs=1e-12)
    assert js_divergence(np.array([3.0, 0.0]), np.array([0.0, 2.0])) == pytest.approx(1)


def test_js_divergence_matches_its_definition() -> None:
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    middle = (p + q) / 2
    expected = (sum(p * np.log2(p / middle)) + sum(q * np.log2(q / middle))) / 2
    assert js_divergence(p, q) == pytest.approx(expected)


def test_count_buckets_outliers_are_in_the_outermost(predictions: pd.DataFrame) -> None:
    edges = bucket_edges(schema_names.DISTANCE, predictions)
    assert (edges[0], edges[-1]) == pytest.approx(
        (predictions[schema_names.DISTANCE].min(), predictions[schema_names.DISTANCE].max())
    )
    counts = count_buckets([-1, 1e9, float("nan"), float("inf")], edges)
    assert counts.tolist() == [1, *[0] * 8, 3]
    assert bucket_edges(schema_names.SCORE, predictions).tolist() == pytest.approx(np.arange(11) / 10)


def test_output_drift_same_population_is_below_threshold(predictions: pd.DataFrame, logged: Any) -> None:
    drifts = measure_output_drift(logged(), predictions=predictions)
    assert [output.name for output in drifts] == [schema_names.SCORE, schema_names.DISTANCE]
    for output in drifts:
        assert output.threshold is not None and 0 < output.value < output.threshold < 0.2
        assert not output.drifted


def test_output_drift_other_scores_are_found(predictions: pd.DataFrame, logged: Any) -> None:
    for scores in ((0.8, 0.8), (0.02, 0.98), (0.5, 0.5)):
        score, distance = measure_output_drift(logged(scores=scores), predictions=predictions)
        assert (score.drifted, distance.drifted) == (True, False)


def test_output_drift_larger_distances_are_found(predictions: pd.DataFrame, logged: Any) -> None:
    score, distance = measure_output_drift(logged(distance=12.0), predictions=predictions)
    assert (score.drifted, distance.drifted) == (False, True)


def test_output_drift_threshold_grows_with_patient_variance(predictions: pd.DataFrame, logged: Any) -> None:
    number = predictions[schema_names.PATIENT].str[-1].astype(int)
    differing = predictions.assign(
        **{schema_names.SCORE: (predictions[schema_names.SCORE] + number / 10) % 1}
    )
    alike, apart = (
        measure_output_drift(logged(), predictions=frame)[0].threshold for frame in (predictions, differing)
    )
    assert alike is not None and apart is not None and apart > 2 * alike


def test_output_drift_of_degenerate_scores_is_named(predictions: pd.DataFrame, logged: Any) -> None:
    scores = np.linspace(0.48, 0.57, 200)
    evaluated = predictions.assign(**{schema_names.SCORE: scores})
    drift, distance = measure_output_drift(logged(), predictions=evaluated)
    assert (drift.degenerate, drift.drifted, distance.degenerate) == (True, False, False)
    assert drift.value > (drift.threshold or 0)
    assert drift.degeneracy == "degenerate (0.480 to 0.570 for all evaluated images), so it is not compared"
    narrow = predictions.assign(**{schema_names.SCORE: np.linspace(0.48, 0.59, 200)})
    assert not measure_output_drift(logged(), predictions=narrow)[0].degenerate


def test_output_drift_of_a_single_label_is_degenerate(predictions: pd.DataFrame, logged: Any) -> None:
    evaluated = with_three_classes(predictions, np.zeros(200, int), seed=1)
    evaluated[schema_names.LABEL] = np.arange(200) % 3
    frame = with_three_classes(logged(), np.arange(200) % 3)
    outputs = {one.name: one for one in measure_output_drift(frame, predictions=evaluated)}
    assert outputs["label"].degenerate and not outputs["score"].degenerate
    assert outputs["label"].degeneracy.startswith("degenerate (the same for all evaluated images)")


def test_scalar_thresholds_grow_with_the_variance_of_patients() -> None:
    generator = np.random.default_rng(0)
    patients = np.arange(400) % 20
    frame = pd.DataFrame({schema_names.PATIENT: patients.astype(str), schema_names.LABEL: patients % 2})
    for name in schema_names.IMAGE_SCALARS:
        frame[name] = generator.normal(0, 1, 400)
    alike = scalar_thresholds(frame)
    frame["image/mean_blue"] += generator.normal(0, 3, 20)[patients]
    apart = scalar_thresholds(frame)
    assert list(alike) == list(apart) == list(schema_names.IMAGE_SCALARS)
    assert alike["image/mean_blue"] <= 0.1 and apart["image/mean_blue"] >= 2 * alike["image/mean_blue"]
    assert apart["image/eosin"] == alike["image/eosin"]


def test_scalar_thresholds_need_two_patients_of_each_class() -> None:
    columns = {name: [1.0, 2.0, 3.0] for name in schema_names.IMAGE_SCALARS}
    frame = pd.DataFrame({schema_names.PATIENT: ["a", "b", "c"], schema_names.LABEL: [0, 1, 1], **columns})
    assert scalar_thresholds(frame) == {}


def test_output_drift_too_few_patients_has_no_threshold(predictions: pd.DataFrame, logged: Any) -> None:
    few = predictions[predictions[schema_names.PATIENT].isin(["patient-0", "patient-1", "patient-2"])]
    for output in measure_output_drift(logged(scores=(0.99, 0.99), distance=99.0), predictions=few):
        assert (output.threshold, output.drifted) == (None, False) and output.value > 0.4


def test_output_drift_old_predictions_without_distance(predictions: pd.DataFrame, logged: Any) -> None:
    (score,) = measure_output_drift(logged(), predictions=predictions.drop(columns=schema_names.DISTANCE))
    assert score.name == schema_names.SCORE


def measure_three(predictions: pd.DataFrame, logged: Any, served: Any, **settings: Any) -> dict[str, bool]:
    """Return whether each output of three classes drifted, given the labels of the served images."""
    evaluated = with_three_classes(predictions, np.arange(200) % 3, seed=1)
    frame = with_three_classes(logged(), served)
    drifts = measure_output_drift(frame, predictions=evaluated, positive=("b", "c"), **settings)
    return {output.name: output.drifted for output in drifts}


def test_output_drift_of_three_classes_compares_labels_and_group(
    predictions: pd.DataFrame, logged: Any
) -> None:
    names = ("score", "distance", "label", "positive_score")
    assert measure_three(predictions, logged, np.arange(200) % 3) == dict.fromkeys(names, False)
    # Fewer of b and more of c: the same scores, and the same share of the group.
    other = measure_three(predictions, logged, np.array([0, 2, 2])[np.arange(200) % 3])
    assert other == dict.fromkeys(names, False) | {"label": True}
    group = measure_three(predictions, logged, np.zeros(200, int))
    assert group == dict.fromkeys(names, False) | {"label": True, "positive_score": True}


def test_output_drift_of_other_number_of_classes_is_refused(predictions: pd.DataFrame, logged: Any) -> None:
    frame = with_three_classes(logged(), np.arange(200) % 3)
    with pytest.raises(UserError, match="the predictions are of 2 classes, and the requests of 3: name the"):
        measure_output_drift(frame, predictions=predictions)
