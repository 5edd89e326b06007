"""Which schema data must match."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import schemas
from pipeline.config import load_config
from pipeline.errors import UserError
from pipeline.run_record import Data, RunRecord
from pipeline.schema.schema_file import schema_file
from pipeline.schema.text import read_schema
from pipeline.workspace import Workspace


@pytest.fixture
def data(make_record: Callable[..., RunRecord]) -> Data:
    return make_record().data


def test_breakhis_has_the_bundled_one(data: Data, tmp_path: Path) -> None:
    assert schema_file(load_config("demo"), data, Workspace(tmp_path)) == schemas.BREAKHIS


def test_a_manifest_s_columns_are_added(data: Data, tmp_path: Path) -> None:
    manifest = replace(data, root=tmp_path, columns=("stain", "site"))
    schema = read_schema(schema_file(load_config("demo"), manifest, Workspace(tmp_path / "new")))
    assert [feature.name for feature in schema.feature][-2:] == ["stain", "site"]


def test_a_configured_one_is_taken(data: Data, tmp_path: Path) -> None:
    mine = tmp_path / "mine.pbtxt"
    mine.write_text('feature { name: "x" }', encoding="utf-8")
    config = load_config("demo", [f"data.schema_file={mine}"])
    assert schema_file(config, data, Workspace(tmp_path)) == mine


def test_a_configured_one_must_be_there(data: Data, tmp_path: Path) -> None:
    config = load_config("demo", [f"data.schema_file={tmp_path / 'none.pbtxt'}"])
    with pytest.raises(UserError, match=r"none\.pbtxt: No such file"):
        schema_file(config, data, Workspace(tmp_path))
