"""Only what was compiled is taken for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.runners.kubeflow.read_compiled import read_compiled


def test_the_first_document_is_the_graph(compiled: Callable[..., Path]) -> None:
    assert read_compiled(compiled())["pipelineInfo"] == {"name": "knet-demo"}


@pytest.mark.parametrize("content", [b"", b"a: 1", b"- [", b"\xff\xfe", b"text"])
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match="is no compiled pipeline"):
        read_compiled(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read .*: No such file"):
        read_compiled(tmp_path / "missing.yaml")
