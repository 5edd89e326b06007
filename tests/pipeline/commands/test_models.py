"""Tests of `knet models`: the list, and that the served versions and the registry agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from knet.base.errors import UserError
from knet.runs.registry import RunRegistry
from knet.serving.model_store import push_version
from knet.serving.models_config import newest_version
from pipeline.commands.main import cli
from pipeline.runners.lifecycle import republish_if_missing


@pytest.fixture
def knet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr("pipeline.commands.models._LABEL_GRACE", 0.0)

    def knet(*arguments: str) -> Result:
        command = ["models", *arguments, "--set", f"output={tmp_path}"]
        return CliRunner().invoke(cli, command, catch_exceptions=False)

    return knet


@pytest.fixture
def versions(tmp_path: Path, make_record: Callable[..., Any]) -> list[str]:
    """Push three models, each with the record of its run."""
    pushed = []
    for number, winner in enumerate(("mobilenet", "vgg16", "mobilenet")):
        model = tmp_path / f"model-{number}"
        model.mkdir()
        (model / "saved_model.pb").write_text(str(number))
        version = push_version(model, tmp_path / "serving" / "knet")
        RunRegistry(tmp_path / "registry").record(
            make_record(
                run_id=f"run-{number}",
                winner=winner,
                pushed_version=version,
                pushed_folder=str(tmp_path / "serving" / "knet" / version),
            )
        )
        pushed.append(version)
    return pushed


def test_models_of_kubeflow_are_in_its_push_folder_and_registry(
    knet: Callable[..., Result], versions: list[str], tmp_path: Path
) -> None:
    (tmp_path / "serving").rename(tmp_path / "volume")
    folders = (f"kubeflow.push_folder={tmp_path}/volume/knet", f"kubeflow.registry={tmp_path}")
    kubeflow = ("--kubeflow", *(word for folder in folders for word in ("--set", folder)))
    assert f"version {versions[1]} is served" in knet("rollback", *kubeflow).output
    assert "withdrawn" in knet("list", *kubeflow).output
    production = RunRegistry(tmp_path / "registry").production()
    assert production is not None and production.version == versions[1]
    assert "no version in" in knet("list").output


def test_models_of_a_folder_are_those_of_its_output(versions: list[str], tmp_path: Path) -> None:
    def knet(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["models", *arguments], catch_exceptions=False)

    served = str(tmp_path / "serving" / "knet")
    assert "run-2" in knet("list", served).output
    assert f"deleted: {versions[0]}" in knet("prune", served, "--keep=1").output
    assert "give one of them" in knet("list", served, "--preset=demo").output
    with pytest.raises(UserError, match="no-folder is not a folder"):
        knet("list", str(tmp_path / "no-folder"))
    with pytest.raises(UserError, match="is not a folder of versions in a run's output"):
        knet("prune", str(tmp_path))


def test_models_without_versions_says_so(knet: Callable[..., Result]) -> None:
    assert "no version in" in knet("list").output
    assert "deleted: nothing" in knet("prune").output


def test_models_list_shows_state_labels_and_run(knet: Callable[..., Result], versions: list[str]) -> None:
    lines = [line.split() for line in knet("list").output.splitlines() if line.split()[:1]]
    rows = {line[0]: " ".join(line[1:]) for line in lines if line[0] in versions}
    assert list(rows) == versions[::-1]
    assert rows[versions[2]].startswith("served, production canary mobilenet run-2")
    assert rows[versions[1]].startswith("served stable vgg16 run-1")
    assert rows[versions[0]].startswith("stored mobilenet run-0")


def test_models_rollback_changes_served_and_production(
    knet: Callable[..., Result], versions: list[str], tmp_path: Path
) -> None:
    output = knet("rollback").output
    assert f"version {versions[1]} is served" in output and f"withdrawn: {versions[2]}" in output
    served, registry = tmp_path / "serving" / "knet", RunRegistry(tmp_path / "registry")
    production = registry.production()
    assert production is not None and (production.version, production.candidate) == (versions[1], "vgg16")
    assert newest_version(served) == production.folder
    # A run that is repeated from the cache does not undo it.
    assert republish_if_missing(served, version=versions[2], archive=tmp_path / "model-2") is None
    assert republish_if_missing(served, version=versions[1], archive=tmp_path / "model-1") == versions[1]
    knet("rollback", "--to", versions[2])
    production = registry.production()
    assert production is not None and production.version == versions[2]
    assert republish_if_missing(served, version=versions[2], archive=tmp_path / "model-2") == versions[2]


def test_models_rollback_to_unregistered_version_is_refused(
    knet: Callable[..., Result], versions: list[str], tmp_path: Path
) -> None:
    (tmp_path / "registry" / "pushed" / f"{versions[1]}.json").unlink()
    with pytest.raises(UserError, match=f"pushed version {versions[1]}"):
        knet("rollback", "--to", versions[1])
    assert newest_version(tmp_path / "serving" / "knet") == tmp_path / "serving" / "knet" / versions[2]


def test_models_rollback_passes_over_unregistered_version(
    knet: Callable[..., Result], versions: list[str], tmp_path: Path
) -> None:
    (tmp_path / "registry" / "pushed" / f"{versions[1]}.json").unlink()
    output = knet("rollback").output
    assert f"version {versions[1]} is passed over: no recorded run pushed it" in output
    assert f"version {versions[0]} is served" in output
    assert newest_version(tmp_path / "serving" / "knet") == tmp_path / "serving" / "knet" / versions[0]


def test_models_rollback_interrupted_is_repeated(
    knet: Callable[..., Result], versions: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("knet.serving.model_store._withdraw", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            knet("rollback")
    assert f"version {versions[1]} is served" in knet("rollback").output
    production = RunRegistry(tmp_path / "registry").production()
    assert production is not None and production.version == versions[1]
    assert newest_version(tmp_path / "serving" / "knet") == production.folder


def test_models_rollback_replaces_a_damaged_production_file(
    knet: Callable[..., Result], versions: list[str], tmp_path: Path
) -> None:
    (tmp_path / "registry" / "production.json").write_text("{")
    with pytest.raises(UserError, match="knet models rollback --to VERSION"):
        knet("rollback")
    knet("rollback", "--to", versions[1])
    production = RunRegistry(tmp_path / "registry").production()
    assert production is not None and production.version == versions[1]


def test_models_prune_keeps_production(
    knet: Callable[..., Result], versions: list[str], tmp_path: Path
) -> None:
    RunRegistry(tmp_path / "registry").make_production(versions[0])
    assert "deleted: nothing" in knet("prune", "--keep", "1").output
    RunRegistry(tmp_path / "registry").make_production(versions[2])
    assert f"deleted: {versions[0]}" in knet("prune", "--keep", "1").output
