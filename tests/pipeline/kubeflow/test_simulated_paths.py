"""Paths of a compiled pipeline on the machine that simulates it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import schemas
from knet.base.errors import UserError
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.kubeflow.simulated_paths import check_paths, map_paths

_VOLUMES = "kubeflow.volumes=[{claim: cache, mount_path: /cache}]"


@pytest.fixture
def config() -> Config:
    return load_config("demo", [_VOLUMES])


@pytest.mark.parametrize(
    ("value", "mapped"),
    [
        ("/data/registry", "ROOT/data/registry"),
        ("/data/checkpoints/searches", "ROOT/data/checkpoints/searches"),
        ("/data/registry-of-another", "/data/registry-of-another"),
        ("/cache/keras", "ROOT/cache/keras"),  # a variable may name a folder on a volume
        ({"cache_root": "/cache/feature-maps"}, {"cache_root": "ROOT/cache/feature-maps"}),
        (["--seed", 7, "s3://bucket/data", "{{$}}"], ["--seed", 7, "s3://bucket/data", "{{$}}"]),
    ],
)
def test_map_paths_of_values(config: Config, tmp_path: Path, value: Any, mapped: Any) -> None:
    expected = json.loads(json.dumps(mapped).replace("ROOT", str(tmp_path)))
    assert map_paths({"key": value}, config, tmp_path)[0] == {"key": expected}


def test_map_paths_in_json_that_holds_json(config: Config, tmp_path: Path) -> None:
    inner = json.dumps({"base_directory": "/models/knet"})
    mapped, _ = map_paths({"config": json.dumps({"destination": inner})}, config, tmp_path)
    destination = json.loads(json.loads(mapped["config"])["destination"])
    assert destination == {"base_directory": f"{tmp_path}/models/knet"}


def test_map_paths_makes_folders_and_copies_the_schema(config: Config, tmp_path: Path) -> None:
    map_paths({}, config, tmp_path)
    copy = tmp_path / "app/schemas/breakhis.pbtxt"
    assert copy.read_bytes() == schemas.BREAKHIS.read_bytes()
    folders = ("data/checkpoints", "cache/feature-maps", "data/registry", "models/knet")
    assert all((tmp_path / folder).is_dir() for folder in folders)


def test_map_paths_keeps_files_that_compiling_requires(tmp_path: Path) -> None:
    weights = "/data/registry/vgg16.h5"
    config = load_config("demo", [f"candidates={{vgg16: {{weights: {weights}}}}}", "tuning=null"])
    assert map_paths({"weights": weights}, config, tmp_path)[0] == {"weights": weights}


def test_map_paths_without_the_schema(tmp_path: Path) -> None:
    config = load_config("demo", [f"data.schema_file={tmp_path}/none.pbtxt"])
    with pytest.raises(UserError, match=r"data\.schema_file: .*none.pbtxt is not on this machine"):
        map_paths({}, config, tmp_path)


def test_check_paths_names_fields_of_missing_ones(tmp_path: Path) -> None:
    folder = f"kubeflow.checkpoints={tmp_path}"
    weights = "candidates={vgg16: {weights: /none/vgg16.h5}}"
    config = load_config("demo", ["kubeflow.registry=/none/registry", folder, weights, "tuning=null"])
    parameters = {"data_source": "/none/images", "data_root": "", "registry": "s3://bucket/knet"}
    with pytest.raises(UserError) as caught:
        check_paths(config, parameters)
    message = str(caught.value)
    assert "\n" not in message and "checkpoints" not in message and "s3://" not in message
    for named in (
        "kubeflow.schema_file=/app/schemas/breakhis.pbtxt",
        "kubeflow.registry=/none/registry",
        "data_source=/none/images",
        "candidates.vgg16.weights=/none/vgg16.h5",
        "--data",
        "--local",
    ):
        assert named in message


def test_check_paths_after_mapping_misses_the_images_only(config: Config, tmp_path: Path) -> None:
    _, local = map_paths({}, config, tmp_path)
    given = {"data_root": "", "registry": local.kubeflow.registry}
    with pytest.raises(UserError, match="machine: data_source=[^,]*; name the images with --data$"):
        check_paths(local, {**given, "data_source": local.kubeflow.data_source})
    check_paths(local, {**given, "data_source": str(tmp_path)})


def test_map_paths_of_a_configuration_with_volumes(tmp_path: Path) -> None:
    """RunStart accepts the mapped configuration, although volumes cannot be mounted everywhere."""
    shared = load_config("demo", [_VOLUMES, "kubeflow.shared_dir=/cache/shared"])
    mapped, local = map_paths({"config": shared.model_dump_json()}, shared, tmp_path)
    read = Config.model_validate_json(mapped["config"]).kubeflow
    assert read.schema_file == local.kubeflow.schema_file == f"{tmp_path}/app/schemas/breakhis.pbtxt"
    assert read.volumes == shared.kubeflow.volumes
    assert local.kubeflow.shared_dir == f"{tmp_path}/cache/shared"
