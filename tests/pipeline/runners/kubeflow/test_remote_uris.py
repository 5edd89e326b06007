"""Where artifacts are inside a container."""

from __future__ import annotations

import pytest

from pipeline.runners.kubeflow.remote_uris import local_path, remote_uri


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://bucket/a/b", "/minio/bucket/a/b"),
        ("s3://bucket/a", "/s3/bucket/a"),
        ("gs://bucket/a", "/gcs/bucket/a"),
    ],
)
def test_there_and_back(uri: str, path: str) -> None:
    assert local_path(uri) == path
    assert remote_uri(path) == uri


def test_what_is_local_stays() -> None:
    assert local_path("/data/BreaKHis_v1") == "/data/BreaKHis_v1"
    assert remote_uri("/data/BreaKHis_v1") == "/data/BreaKHis_v1"
