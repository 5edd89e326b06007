"""Tests of comparing logged requests with training and evaluation data."""

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
from monitoring_fixtures import with_three_classes

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
    find_schema,
    load_reference,
    reference_of_version,
)


@pytest.fixture(scope="module")
def analyze(training: Any, predictions: pd.DataFrame, schema: Any) -> Any:
    """Analyze logged requests."""

    def of(
        frame: pd.DataFrame, *, baseline: pd.DataFrame | None = None, scores: bool = True
    ) -> RequestAnalysis:
        reference = Reference(training, predictions if scores else None, "run 1")
        return analyze_requests(
            frame, reference=reference, schema=schema, max_ood_share=0.2, baseline=baseline
        )

    return of


def test_analyze_matching_requests_has_no_findings(analyze: Any, logged: Any) -> None:
    analysis = analyze(logged())
    assert analysis.findings == []
    assert [distance.feature for distance in analysis.skew] == list(schema_names.IMAGE_SCALARS)
    assert all(distance.value > 0 for distance in analysis.skew)
    assert (analysis.version, analysis.patients, analysis.drift) == (7, 10, ())
    assert analysis.labels == {"benign": 100, "malignant": 100}
    assert analysis.ood_share == pytest.approx(0.05)
    assert analysis.reasons == {"blurred": 10}


@pytest.mark.parametrize(
    ("moved", "feature"),
    [({"hematoxylin": 2.0}, "image/hematoxylin"), ({"laplacian": -2.0}, schema_names.LAPLACIAN)],
)
def test_analyze_other_stain_or_focus_is_found_by_feature(
    analyze: Any, logged: Any, moved: dict[str, float], feature: str
) -> None:
    (finding,) = analyze(logged(**moved)).findings
    assert finding.startswith(f"{feature}: 0.")
    assert "from the training images, above 0." in finding


def test_analyze_drift_from_the_baseline_log(analyze: Any, logged: Any) -> None:
    same = analyze(logged(mean_red=2.0), baseline=logged(mean_red=2.0, seed=3))
    assert [finding.split(":")[0] for finding in same.findings] == ["image/mean_red"]
    moved = analyze(logged(), baseline=logged(mean_red=2.0, seed=3))
    (finding,) = moved.findings
    assert finding.startswith("image/mean_red: ") and "from the baseline log" in finding


def test_analyze_thresholds_are_raised_to_those_of_the_patients(
    training: Any, schema: Any, logged: Any
) -> None:
    patients = np.arange(200) % 10
    scalars = logged()[list(schema_names.IMAGE_SCALARS)].assign(
        **{schema_names.PATIENT: patients.astype(str), schema_names.LABEL: patients % 2}
    )
    scalars["image/eosin"] += patients / 10  # patients that differ more than the served images do

    def findings(**settings: Any) -> list[str]:
        reference = Reference(training, None, "run 1", **settings)
        frame = logged(eosin=2.0, mean_red=3.0)
        analysis = analyze_requests(
            frame, reference=reference, schema=schema, max_ood_share=0.2, baseline=logged(seed=3)
        )
        return [finding.partition(":")[0] for finding in analysis.findings]

    assert findings() == ["image/mean_red", "image/eosin"] * 2
    assert findings(scalars=scalars) == ["image/mean_red"] * 2


def test_analyze_degenerate_scores_are_noted(
    training: Any, predictions: pd.DataFrame, schema: Any, logged: Any
) -> None:
    reference = Reference(training, predictions.assign(score=0.5), "run 1")
    analysis = analyze_requests(logged(), reference=reference, schema=schema, max_ood_share=0.2)
    assert analysis.findings == []
    assert analysis.notes == [
        "score: degenerate (0.500 to 0.500 for all evaluated images), so it is not compared"
    ]


def test_analyze_other_scores_and_ood_share_are_found(analyze: Any, logged: Any) -> None:
    analysis = analyze(logged(scores=(0.8, 0.8), distance=12.0, flagged=0.3))
    score, distance, flagged = analysis.findings
    assert score.startswith("score: 0.") and "from the evaluated images" in score
    assert distance.startswith("distance: 0.") and "from the evaluated images" in distance
    assert flagged == "30.0% of the images out of distribution, above 20.0%"


def test_analyze_without_predictions_compares_no_scores(analyze: Any, logged: Any) -> None:
    analysis = analyze(logged(scores=(0.8, 0.8)), scores=False)
    assert (analysis.outputs, analysis.findings) == ((), [])


def test_analyze_schema_anomaly_is_found(analyze: Any, logged: Any) -> None:
    frame = logged()
    frame[schema_names.WIDTH] = 5000
    (finding,) = analyze(frame).findings
    assert finding.startswith(f"{schema_names.WIDTH}: ") and "5000" in finding


def test_analyze_unmeasured_images_count_as_predictions_only(analyze: Any, logged: Any) -> None:
    frame = logged()
    frame.loc[:4, "unusable"] = "not 8-bit RGB but grey"
    frame.loc[:4, list(schema_names.IMAGE_SCALARS)] = float("nan")
    analysis = analyze(frame)
    assert analysis.statistics.datasets[0].num_examples == 195
    assert analysis.unusable == {"not 8-bit RGB but grey": 5}
    assert analysis.findings == []


def test_analyze_feature_without_training_statistics_is_found(
    training: Any, schema: Any, logged: Any
) -> None:
    lacking = type(training)()
    lacking.CopyFrom(training)
    present = [f for f in lacking.datasets[0].features if list(f.path.step) != ["image/eosin"]]
    del lacking.datasets[0].features[:]
    lacking.datasets[0].features.extend(present)
    analysis = analyze_requests(
        logged(), reference=Reference(lacking, None, "run 1"), schema=schema, max_ood_share=0.2
    )
    (finding,) = analysis.findings
    assert finding == "image/eosin: cannot be compared with the training images, whose statistics lack it"


def test_analyze_three_classes_has_evaluated_label_shares(
    training: Any, predictions: pd.DataFrame, schema: Any, logged: Any
) -> None:
    frame = with_three_classes(logged(), np.arange(200) % 3)
    evaluated = with_three_classes(predictions, np.arange(200) % 4 // 2, seed=1)
    reference = Reference(training, evaluated, "run 1", positive=("b", "c"))
    analysis = analyze_requests(frame, reference=reference, schema=schema, max_ood_share=0.2)
    assert analysis.labels == {"a": 67, "b": 67, "c": 66}
    assert analysis.evaluated_labels == {"a": 0.5, "b": 0.5, "c": 0}
    (finding,) = analysis.findings
    assert finding.startswith("label: 0.") and "from the evaluated images" in finding


VERSION = 1706702400


@pytest.fixture
def workspace(
    tmp_path: Path,
    make_record: Callable[..., RunRecord],
    statistics_folder: Path,
    predictions_file: Path,
) -> Workspace:
    """A workspace with a run that pushed a version, and its artifacts."""
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


def test_reference_of_version_is_that_of_its_run(
    workspace: Workspace, training: Any, predictions: Any
) -> None:
    scalars = pd.DataFrame({"patient": ["1"], "label": [0], "image/eosin": [0.5]})
    assert reference_of_version(VERSION, workspace).scalars is None  # a run of an earlier release
    scalars.to_parquet(workspace.reports / "20240131-120000" / "training_scalars.parquet")
    reference = reference_of_version(VERSION, workspace)
    assert reference.scalars.equals(scalars)
    assert reference.statistics == training
    assert len(reference.predictions) == len(predictions)
    assert (reference.origin, reference.synthetic) == ("run 20240131-120000", False)


def test_reference_of_version_falls_back_to_the_registry(
    workspace: Workspace, make_record: Callable[..., RunRecord], statistics_folder: Path, training: Any
) -> None:
    shutil.rmtree(workspace.root / "artifacts")
    registry = RunRegistry(workspace.registry)
    later = make_record(run_id="20240201-120000", pushed_version=None)
    registry.record(later)
    registry.store_statistics(statistics_folder, run_id=later.run_id, schema=schemas.BREAKHIS)
    assert reference_of_version(VERSION, workspace).statistics == training
    registry.record(replace(later, data=replace(later.data, fingerprint="other")))
    with pytest.raises(
        UserError, match=r"trained on were deleted \(run 20240131-120000\): name a copy with --stat"
    ):
        reference_of_version(VERSION, workspace)


def test_reference_of_version_unknown_version_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=f"pushed version 3; pushed were {VERSION}"):
        reference_of_version(3, workspace)


def test_load_reference_reads_the_named_files(
    statistics_folder: Path, predictions_file: Path, training: Any
) -> None:
    reference = load_reference(statistics_folder, predictions_file)
    assert reference.statistics == training and len(reference.predictions) == 200
    assert load_reference(statistics_folder, None).predictions is None


def test_load_reference_missing_or_damaged_file_is_named(tmp_path: Path, statistics_folder: Path) -> None:
    with pytest.raises(
        UserError, match=r"no statistics: .*FeatureStats\.pb: No such file or directory; name"
    ):
        load_reference(tmp_path, None)
    folder = tmp_path / "damaged"
    shutil.copytree(statistics_folder, folder)
    (folder / "Split-train" / "FeatureStats.pb").write_bytes(b"\xff")
    with pytest.raises(UserError, match="the statistics in .*damaged are damaged"):
        load_reference(folder, None)


def test_find_schema_configured_then_last_run_then_default(
    workspace: Workspace, statistics_folder: Path, tmp_path: Path
) -> None:
    assert find_schema(None, workspace, default=schemas.BREAKHIS).feature[0].name == "image/encoded"
    other = tmp_path / "other.pbtxt"
    text = 'feature { name: "image/eosin" skew_comparator { jensen_shannon_divergence { threshold: 0.5 } } }'
    other.write_text(text, encoding="utf-8")
    RunRegistry(workspace.registry).store_statistics(statistics_folder, run_id="1", schema=other)
    assert len(find_schema(None, workspace, default=schemas.BREAKHIS).feature) == 1
    assert len(find_schema(schemas.BREAKHIS, workspace, default=other).feature) > 1
    other.write_text('feature { name: "image/eosin" }', encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.pbtxt has no skew_comparator"):
        find_schema(None, workspace, default=schemas.BREAKHIS)
