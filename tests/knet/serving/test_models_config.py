"""Tests of TF Serving's configuration files: bundled, wrong and official ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

from knet.base.errors import UserError
from knet.serving import models_config
from knet.serving.models_config import (
    METRICS_PATH,
    Batching,
    config_folder,
    read_batching,
    read_metrics_path,
)


def test_bundled_batching_ends_at_the_maximum() -> None:
    batching = read_batching(config_folder() / "batching_parameters.txt")
    assert batching.allowed_batch_sizes[-1] == batching.max_batch_size == 32
    assert [batching.padded_size(rows) for rows in (1, 5, 9, 32)] == [1, 6, 12, 32]


def test_bundled_monitoring_has_tf_servings_path() -> None:
    assert read_metrics_path(config_folder() / "monitoring.config") == METRICS_PATH


def test_read_metrics_path_other_or_disabled(tmp_path: Path) -> None:
    file = tmp_path / "m"
    file.write_text("prometheus_config { enable: true path: '/metrics' }")
    assert read_metrics_path(file) == "/metrics"
    file.write_text("")
    assert read_metrics_path(file) is None


def test_batching_defaults_are_tf_servings(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("")
    assert read_batching(tmp_path / "b") == Batching()
    assert Batching().padded_size(5) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: [2, 8]",
            "must increase and end at max_batch_size 4",
        ),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [4, 2, 4]", "must increase"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [0, 4]", "must increase"),
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1, not 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be at least 0"),
        ("max_batch: 4", r"not a BatchingParameters in text format.*max_batch"),
    ],
)
def test_read_batching_wrong_values_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.txt").write_text(text)
    with pytest.raises(UserError, match=rf"b\.txt.*{message}"):
        read_batching(tmp_path / "b.txt")


def test_read_batching_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read .*nothing: No such file"):
        read_batching(tmp_path / "nothing")


def test_model_server_config_matches_the_official_one() -> None:
    ours = models_config.ModelServerConfig()
    model = ours.model_config_list.config.add(name="knet", base_path="/m", model_platform="tensorflow")
    model.model_version_policy.latest.num_versions = 2
    model.version_labels["stable"] = 2**40
    official = model_server_config_pb2.ModelServerConfig.FromString(ours.SerializeToString())
    (same,) = official.model_config_list.config
    assert (same.name, same.base_path, same.model_platform) == ("knet", "/m", "tensorflow")
    assert same.model_version_policy.latest.num_versions == 2 and same.version_labels["stable"] == 2**40
    same.model_version_policy.specific.versions.append(3)
    back = models_config.ModelServerConfig.FromString(official.SerializeToString())
    assert list(back.model_config_list.config[0].model_version_policy.specific.versions) == [3]
    policy = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy
    assert set(policy.DESCRIPTOR.fields_by_name) == {"latest", "all", "specific"}
