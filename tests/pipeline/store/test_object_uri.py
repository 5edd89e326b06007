"""What lies in an object store is told by its scheme."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.store.object_uri import object_uri


@pytest.mark.parametrize("uri", ["s3://bucket/folder/a.json", "gs://bucket"])
def test_a_uri_survives_being_a_path(uri: str) -> None:
    assert object_uri(uri) == object_uri(Path(uri)) == object_uri(f"{uri}/") == uri


@pytest.mark.parametrize("path", ["/data", "data", "s3", "/s3://bucket", "./s3:/bucket", "minio://bucket/a"])
def test_a_path_is_none(path: str) -> None:
    assert object_uri(path) is None
