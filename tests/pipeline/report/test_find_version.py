"""The run that a served version came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.registry import RunRegistry
from pipeline.report.find_version import find_version
from pipeline.run_record import RunRecord

MakeRecord = Callable[..., RunRecord]


@pytest.fixture
def registry(tmp_path: Path) -> RunRegistry:
    return RunRegistry(tmp_path / "registry")


def test_it_is_the_run_that_pushed_it_first(registry: RunRegistry, make_record: MakeRecord) -> None:
    for run_id, version in (("a", "1"), ("b", None), ("c", "2"), ("d", "2")):
        registry.record(make_record(run_id=run_id, pushed_version=version))
    assert find_version("2", registry, where=Path("out")).run_id == "c"


def test_an_unknown_version_names_the_known_ones(registry: RunRegistry, make_record: MakeRecord) -> None:
    for version in ("1", "2"):
        registry.record(make_record(run_id=version, pushed_version=version))
    with pytest.raises(UserError, match="no run in out pushed version 3; pushed were 2, 1$"):
        find_version("3", registry, where=Path("out"))


def test_before_the_first_push_there_is_none(registry: RunRegistry) -> None:
    with pytest.raises(UserError, match="none was pushed yet"):
        find_version("3", registry, where=Path("out"))


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_broken_record_is_named(registry: RunRegistry, make_record: MakeRecord, text: str) -> None:
    file = registry.record(make_record())
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"{file} is no record of a run"):
        find_version("3", registry, where=Path("out"))
