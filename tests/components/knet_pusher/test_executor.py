"""Executor of Pusher, called directly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.knet_pusher.executor import Executor
from knet.serving.model_store import rollback
from knet.serving.models_config import complete_versions


@pytest.fixture
def push(tmp_path: Path) -> Any:
    """Pushes a model of some content to `tmp_path/served`, and returns the artifact."""
    served = tmp_path / "served"

    def push(content: str, *, blessed: bool = True) -> standard_artifacts.PushedModel:
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / content)
        folder = Path(model.uri) / "Format-Serving"
        (folder / "variables").mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").write_text(content)
        blessing, infra = standard_artifacts.ModelBlessing(), standard_artifacts.InfraBlessing()
        for artifact in (blessing, infra):
            artifact.uri = str(tmp_path / artifact.type_name)
            artifact.set_int_custom_property("blessed", int(blessed))
        Path(blessing.uri).mkdir(exist_ok=True)
        (Path(blessing.uri) / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
        Path(infra.uri).mkdir(exist_ok=True)
        (Path(infra.uri) / ("INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED")).touch()
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / f"pushed-{content}")
        filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=str(served))
        destination = pusher_pb2.PushDestination(filesystem=filesystem)
        Executor().Do(
            {"model": [model], "model_blessing": [blessing], "infra_blessing": [infra]},
            {"pushed_model": [pushed]},
            {"push_destination": proto_utils.proto_to_json(destination)},
        )
        return pushed

    return push


def test_pusher_pushes_and_archives_a_blessed_model(push: Any, tmp_path: Path) -> None:
    versions = [push(content).get_string_custom_property("pushed_version") for content in ("a", "b")]
    assert [str(version) for version in complete_versions(tmp_path / "served")] == versions
    for content, version in zip("ab", versions, strict=True):
        for folder in (tmp_path / f"pushed-{content}", tmp_path / "served" / version):
            assert (folder / "saved_model.pb").read_text() == content


def test_pusher_takes_the_version_of_an_interrupted_push(push: Any, tmp_path: Path) -> None:
    first = push("a").get_string_custom_property("pushed_version")  # before MLMD recorded it
    assert push("a").get_string_custom_property("pushed_version") == first
    assert [str(version) for version in complete_versions(tmp_path / "served")] == [first]


def test_pusher_skips_unblessed_and_rolled_back_models(push: Any, tmp_path: Path) -> None:
    push("a", blessed=False)
    assert not complete_versions(tmp_path / "served")
    first, second = (int(push(content).get_string_custom_property("pushed_version")) for content in "bc")
    rollback(tmp_path / "served", first)
    again = push("c")
    assert again.get_int_custom_property("pushed") == 0
    assert list(complete_versions(tmp_path / "served")) == [first] and second > first
