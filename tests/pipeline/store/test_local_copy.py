"""What is on this machine is not copied."""

from __future__ import annotations

from pathlib import Path

from pipeline.store.local_copy import local_copy


def test_a_local_file_is_itself(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.touch()
    with local_copy(file) as copy:
        assert copy == file
    assert file.is_file()
