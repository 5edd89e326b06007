"""Local files are open to what TFX writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tfx.dsl.io.filesystem import NotFoundError

from pipeline.runners.kubeflow.local_files import LocalFiles


@pytest.mark.parametrize("content", ["größer", "größer".encode()])
def test_texts_and_bytes_are_written_alike(tmp_path: Path, content: str | bytes) -> None:
    with LocalFiles.open(tmp_path / "value", "wb") as file:
        file.write(content)
    with LocalFiles.open(tmp_path / "value", "rb") as file:
        assert file.read() == "größer".encode()
    with LocalFiles.open(tmp_path / "value") as file:
        assert file.read() == "größer"


def test_a_missing_file_is_told_as_tfx_expects(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        LocalFiles.open(tmp_path / "none", "rb")
