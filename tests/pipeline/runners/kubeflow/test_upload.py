"""A graph is on the server once, whatever is done how often."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.runners.kubeflow.upload import every, upload


def test_the_first_upload_makes_the_pipeline_and_its_first_version(
    server: Any, client: Any, compiled: Callable[..., Path]
) -> None:
    version = upload(client, compiled(), namespace=None)
    assert version.new and version.pipeline == "knet-demo"
    assert set(server.pipelines) == {version.pipeline_id}
    assert set(server.versions) == {version.version_id}
    assert server.specs[version.version_id]["pipelineInfo"]["name"] == "knet-demo"


def test_the_same_file_is_not_uploaded_again(server: Any, client: Any, compiled: Callable[..., Path]) -> None:
    first = upload(client, compiled(), namespace=None)
    again = upload(client, compiled(), namespace=None)
    assert not again.new and again.version_id == first.version_id
    assert len(server.versions) == 1


def test_a_changed_file_is_a_version_named_by_its_digest_and_the_old_one_is_known_still(
    server: Any, client: Any, compiled: Callable[..., Path]
) -> None:
    first = upload(client, compiled(), namespace=None)
    second = upload(client, compiled(image="knet:2"), namespace=None)
    assert second.new and second.pipeline_id == first.pipeline_id
    assert second.version.startswith("knet-demo-") and len(second.version) == len("knet-demo-") + 12
    assert upload(client, compiled(image="knet:2"), namespace=None).version_id == second.version_id
    assert upload(client, compiled(), namespace=None).version_id == first.version_id
    assert len(server.versions) == 2


def test_versions_beyond_the_first_page_are_known(
    server: Any, client: Any, compiled: Callable[..., Path]
) -> None:
    server.pages = 1
    made = [upload(client, compiled(image=f"knet:{number}"), namespace=None) for number in range(3)]
    again = [upload(client, compiled(image=f"knet:{number}"), namespace=None) for number in range(3)]
    assert [version.version_id for version in again] == [version.version_id for version in made]
    assert not any(version.new for version in again)
    listed = every(client.list_pipeline_versions, "pipeline_versions", pipeline_id=made[0].pipeline_id)
    assert len(list(listed)) == 3


def test_another_pipeline_is_another(server: Any, client: Any, compiled: Callable[..., Path]) -> None:
    first = upload(client, compiled(), namespace=None)
    other = upload(client, compiled(name="knet-paper"), namespace=None)
    assert other.new and other.pipeline_id != first.pipeline_id


def test_what_somebody_else_uploaded_meanwhile_is_taken(
    server: Any, client: Any, compiled: Callable[..., Path], monkeypatch: Any
) -> None:
    upload(client, compiled(), namespace=None)
    file = compiled(image="knet:2")
    there = client.list_pipeline_versions

    def list_before_the_other(**arguments: Any) -> Any:
        found = there(**arguments)
        monkeypatch.setattr(client, "list_pipeline_versions", there)
        upload(client, file, namespace=None)  # the other
        return found

    monkeypatch.setattr(client, "list_pipeline_versions", list_before_the_other)
    assert upload(client, file, namespace=None).pipeline == "knet-demo"
    assert len(server.versions) == 2
