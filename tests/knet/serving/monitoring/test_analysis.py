"""What is found of requests that are unlike what the model was made for, and of those that are like it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import schemas
from knet.base import schema_names
from knet.base.errors import UserError
from knet.runs.record import RunRecord
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from knet.serving.monitoring.analysis import (
    Reference,
    RequestAnalysis,
    analyze_requests,
    bucket_edges,
    count,
    divergence,
    given_reference,
    measure_answer_drift,
    reference_of,
    schema_of,
)


@pytest.fixture(scope="module")
def judge(training: Any, predictions: pd.DataFrame, schema: Any) -> Any:
    """Judges answers."""

    def of(
        frame: pd.DataFrame, *, earlier: pd.DataFrame | None = None, scores: bool = True
    ) -> RequestAnalysis:
        reference = Reference(training, predictions if scores else None, "run 1")
        return analyze_requests(frame, reference=reference, schema=schema, doubted_limit=0.2, earlier=earlier)

    return of


def test_requests_like_the_training_images_are_well(judge: Any, answers: Any) -> None:
    judgement = judge(answers())
    assert judgement.findings == []
    assert [distance.feature for distance in judgement.skew] == list(schema_names.IMAGE_SCALARS)
    assert all(distance.value > 0 for distance in judgement.skew)
    assert (judgement.version, judgement.patients, judgement.drift) == (7, 10, ())
    assert judgement.labels == {"benign": 100, "malignant": 100}
    assert judgement.doubted == pytest.approx(0.05)
    assert judgement.reasons == {"blurred": 10}


@pytest.mark.parametrize(
    ("moved", "feature"),
    [({"hematoxylin": 2.0}, "image/hematoxylin"), ({"laplacian": -2.0}, schema_names.LAPLACIAN)],
)
def test_another_stain_or_focus_is_found_by_its_feature_alone(
    judge: Any, answers: Any, moved: dict[str, float], feature: str
) -> None:
    (finding,) = judge(answers(**moved)).findings
    assert finding.startswith(f"{feature}: 0.")
    assert "from the training images, above 0." in finding


def test_drift_is_looked_for_in_an_earlier_log(judge: Any, answers: Any) -> None:
    same = judge(answers(mean_red=2.0), earlier=answers(mean_red=2.0, seed=3))
    assert [finding.split(":")[0] for finding in same.findings] == ["image/mean_red"]
    moved = judge(answers(), earlier=answers(mean_red=2.0, seed=3))
    (finding,) = moved.findings
    assert finding.startswith("image/mean_red: ") and "from the earlier log" in finding


def test_other_scores_and_doubt_are_found(judge: Any, answers: Any) -> None:
    judgement = judge(answers(scores=(0.8, 0.8), distance=12.0, doubted=0.3))
    score, distance, doubted = judgement.findings
    assert score.startswith("score: 0.") and "from the evaluated images" in score
    assert distance.startswith("distance: 0.") and "from the evaluated images" in distance
    assert doubted == "30.0% of the images doubted, above 20.0%"


def test_without_predictions_scores_are_not_judged(judge: Any, answers: Any) -> None:
    judgement = judge(answers(scores=(0.8, 0.8)), scores=False)
    assert (judgement.answers, judgement.findings) == ((), [])


def test_what_the_schema_does_not_allow_of_a_served_image_is_found(judge: Any, answers: Any) -> None:
    frame = answers()
    frame[schema_names.WIDTH] = 5000
    (finding,) = judge(frame).findings
    assert finding.startswith(f"{schema_names.WIDTH}: ") and "5000" in finding


def test_images_that_were_not_measured_count_as_answers_alone(judge: Any, answers: Any) -> None:
    frame = answers()
    frame.loc[:4, "unusable"] = "not 8-bit RGB but grey"
    frame.loc[:4, list(schema_names.IMAGE_SCALARS)] = float("nan")
    judgement = judge(frame)
    assert judgement.statistics.datasets[0].num_examples == 195
    assert judgement.unusable == {"not 8-bit RGB but grey": 5}
    assert judgement.findings == []


def test_a_feature_that_the_training_statistics_lack_is_found(
    training: Any, schema: Any, answers: Any
) -> None:
    lacking = type(training)()
    lacking.CopyFrom(training)
    kept = [f for f in lacking.datasets[0].features if list(f.path.step) != ["image/eosin"]]
    del lacking.datasets[0].features[:]
    lacking.datasets[0].features.extend(kept)
    judgement = analyze_requests(
        answers(), reference=Reference(lacking, None, "run 1"), schema=schema, doubted_limit=0.2
    )
    (finding,) = judgement.findings
    assert finding == "image/eosin: cannot be compared with the training images, whose statistics lack it"


def test_divergence_is_0_of_equal_and_1_of_disjoint_histograms() -> None:
    assert divergence(np.array([3.0, 1.0]), np.array([6.0, 2.0])) == pytest.approx(0, abs=1e-12)
    assert divergence(np.array([3.0, 0.0]), np.array([0.0, 2.0])) == pytest.approx(1)


def test_divergence_is_jensen_and_shannons() -> None:
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    middle = (p + q) / 2
    by_hand = (sum(p * np.log2(p / middle)) + sum(q * np.log2(q / middle))) / 2
    assert divergence(p, q) == pytest.approx(by_hand)


def test_values_beyond_what_was_evaluated_count_in_the_last_buckets(predictions: pd.DataFrame) -> None:
    edges = bucket_edges(schema_names.DISTANCE, predictions)
    assert (edges[0], edges[-1]) == pytest.approx(
        (predictions[schema_names.DISTANCE].min(), predictions[schema_names.DISTANCE].max())
    )
    counts = count([-1, 1e9, float("nan"), float("inf")], edges)
    assert counts.tolist() == [1, *[0] * 8, 3]
    assert bucket_edges(schema_names.SCORE, predictions).tolist() == pytest.approx(np.arange(11) / 10)


def test_the_same_kind_of_images_did_not_drift(predictions: pd.DataFrame, answers: Any) -> None:
    found = measure_answer_drift(answers(), predictions=predictions)
    assert [answer.name for answer in found] == [schema_names.SCORE, schema_names.DISTANCE]
    for answer in found:
        assert answer.threshold is not None and 0 < answer.value < answer.threshold < 0.2
        assert not answer.drifted


def test_another_mixture_or_a_bolder_model_drifted(predictions: pd.DataFrame, answers: Any) -> None:
    for scores in ((0.8, 0.8), (0.02, 0.98), (0.5, 0.5)):
        score, distance = measure_answer_drift(answers(scores=scores), predictions=predictions)
        assert (score.drifted, distance.drifted) == (True, False)


def test_images_farther_from_those_trained_on_drifted(predictions: pd.DataFrame, answers: Any) -> None:
    score, distance = measure_answer_drift(answers(distance=12.0), predictions=predictions)
    assert (score.drifted, distance.drifted) == (False, True)


def test_patients_who_differ_allow_a_larger_distance(predictions: pd.DataFrame, answers: Any) -> None:
    number = predictions[schema_names.PATIENT].str[-1].astype(int)
    differing = predictions.assign(
        **{schema_names.SCORE: (predictions[schema_names.SCORE] + number / 10) % 1}
    )
    alike, apart = (
        measure_answer_drift(answers(), predictions=frame)[0].threshold for frame in (predictions, differing)
    )
    assert alike is not None and apart is not None and apart > 2 * alike


def test_a_model_that_says_the_same_of_every_patient_may_say_so_of_nearly_every_served_image(
    predictions: pd.DataFrame, answers: Any
) -> None:
    frame = answers().assign(**{schema_names.SCORE: 0.55})
    frame.loc[0, schema_names.SCORE] = 0.65
    found, _ = measure_answer_drift(frame, predictions=predictions.assign(**{schema_names.SCORE: 0.55}))
    assert found.threshold == 0.05 and 0 < found.value < 0.05


def test_too_few_patients_are_not_judged(predictions: pd.DataFrame, answers: Any) -> None:
    few = predictions[predictions[schema_names.PATIENT].isin(["patient-0", "patient-1", "patient-2"])]
    for answer in measure_answer_drift(answers(scores=(0.99, 0.99), distance=99.0), predictions=few):
        assert (answer.threshold, answer.drifted) == (None, False) and answer.value > 0.4


def test_predictions_of_before_there_were_distances_are_compared_by_score(
    predictions: pd.DataFrame, answers: Any
) -> None:
    (score,) = measure_answer_drift(answers(), predictions=predictions.drop(columns=schema_names.DISTANCE))
    assert score.name == schema_names.SCORE


VERSION = 1706702400


@pytest.fixture
def workspace(
    tmp_path: Path,
    make_record: Callable[..., RunRecord],
    statistics_folder: Path,
    predictions_file: Path,
) -> Workspace:
    """In which a run pushed a version, and its artifacts are still there."""
    workspace = Workspace(tmp_path / "output")
    record = make_record()
    RunRegistry(workspace.registry).record(record)
    folder = workspace.reports / record.run_id
    (folder / "predictions").mkdir(parents=True)
    shutil.copy(predictions_file, folder / "predictions" / "mobilenet.parquet")
    artifacts = workspace.root / "artifacts"
    shutil.copytree(statistics_folder, artifacts)
    rows = [{"node": "Transform", "uri": str(tmp_path)}, {"node": "StatisticsGen", "uri": str(artifacts)}]
    (folder / "lineage.json").write_text(json.dumps(rows), encoding="utf-8")
    return workspace


def test_it_is_what_the_run_left_that_pushed_the_version(
    workspace: Workspace, training: Any, predictions: Any
) -> None:
    found = reference_of(VERSION, workspace)
    assert found.statistics == training
    assert len(found.predictions) == len(predictions)
    assert (found.origin, found.synthetic) == ("run 20240131-120000", False)


def test_the_registrys_statistics_stand_in_for_artifacts_that_are_gone_if_the_data_are_the_same(
    workspace: Workspace, make_record: Callable[..., RunRecord], statistics_folder: Path, training: Any
) -> None:
    shutil.rmtree(workspace.root / "artifacts")
    registry = RunRegistry(workspace.registry)
    later = make_record(run_id="20240201-120000", pushed_version=None)
    registry.record(later)
    registry.keep_statistics(statistics_folder, run_id=later.run_id, schema=schemas.BREAKHIS)
    assert reference_of(VERSION, workspace).statistics == training
    registry.record(replace(later, data=replace(later.data, fingerprint="other")))
    with pytest.raises(
        UserError, match=r"trained on are gone \(run 20240131-120000\): give them with --stat"
    ):
        reference_of(VERSION, workspace)


def test_a_version_that_no_run_pushed_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=f"pushed version 3; pushed were {VERSION}"):
        reference_of(3, workspace)


def test_what_the_user_names_is_read(statistics_folder: Path, predictions_file: Path, training: Any) -> None:
    found = given_reference(statistics_folder, predictions_file)
    assert found.statistics == training and len(found.predictions) == 200
    assert given_reference(statistics_folder, None).predictions is None


def test_a_folder_without_statistics_or_with_damaged_ones_is_named(
    tmp_path: Path, statistics_folder: Path
) -> None:
    with pytest.raises(
        UserError, match=r"no statistics: .*FeatureStats\.pb: No such file or directory; name"
    ):
        given_reference(tmp_path, None)
    folder = tmp_path / "damaged"
    shutil.copytree(statistics_folder, folder)
    (folder / "Split-train" / "FeatureStats.pb").write_bytes(b"\xff")
    with pytest.raises(UserError, match="the statistics in .*damaged are damaged"):
        given_reference(folder, None)


def test_the_schema_is_the_configured_one_else_the_last_runs_else_breakhis(
    workspace: Workspace, statistics_folder: Path, tmp_path: Path
) -> None:
    assert schema_of(None, workspace, default=schemas.BREAKHIS).feature[0].name == "image/encoded"
    other = tmp_path / "other.pbtxt"
    text = 'feature { name: "image/eosin" skew_comparator { jensen_shannon_divergence { threshold: 0.5 } } }'
    other.write_text(text, encoding="utf-8")
    RunRegistry(workspace.registry).keep_statistics(statistics_folder, run_id="1", schema=other)
    assert len(schema_of(None, workspace, default=schemas.BREAKHIS).feature) == 1
    assert len(schema_of(schemas.BREAKHIS, workspace, default=other).feature) > 1
    other.write_text('feature { name: "image/eosin" }', encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.pbtxt has no skew_comparator"):
        schema_of(None, workspace, default=schemas.BREAKHIS)
