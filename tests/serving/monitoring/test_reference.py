"""What a version is compared with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import schemas
from pipeline.config import load_config
from pipeline.errors import UserError
from pipeline.registry import RunRegistry
from pipeline.run_record import RunRecord
from pipeline.workspace import Workspace
from serving.monitoring.reference import given_reference, reference_of, schema_of

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
    config = load_config("demo")
    assert schema_of(config, workspace).feature[0].name == "image/encoded"
    other = tmp_path / "other.pbtxt"
    text = 'feature { name: "image/eosin" skew_comparator { jensen_shannon_divergence { threshold: 0.5 } } }'
    other.write_text(text, encoding="utf-8")
    RunRegistry(workspace.registry).keep_statistics(statistics_folder, run_id="1", schema=other)
    assert len(schema_of(config, workspace).feature) == 1
    chosen = load_config("demo", [f"data.schema_file={schemas.BREAKHIS}"])
    assert len(schema_of(chosen, workspace).feature) > 1
    other.write_text('feature { name: "image/eosin" }', encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.pbtxt has no skew_comparator"):
        schema_of(config, workspace)
