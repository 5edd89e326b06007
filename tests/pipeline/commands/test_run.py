"""`knet run` after the graph: what it prints about the served version."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from knet.runs.record import RunRecord
from knet.runs.workspace import Workspace
from pipeline.commands import main, run


def test_run_classifies_an_image_only_with_a_new_version(
    make_record: Callable[..., RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classified = []

    def run_pipeline(version: str) -> Callable[..., RunRecord]:
        def push(*_: Any, **__: Any) -> RunRecord:
            folder = Workspace(tmp_path).served / version
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "saved_model.pb").touch()
            return make_record(pushed_version=version, examples=tmp_path)

        return push

    monkeypatch.setattr("pipeline.preflight.prepare_data", lambda *_, **__: make_record().data)
    monkeypatch.setattr(run, "_print_prediction", lambda console, served, examples: classified.append(served))
    for version in ("7", "7", "8"):
        local = SimpleNamespace(run_pipeline=run_pipeline(version))
        monkeypatch.setitem(sys.modules, "pipeline.runners.local", local)
        done = CliRunner().invoke(
            main.cli, ["run", "--verbose", "--set", f"output={tmp_path}"], catch_exceptions=False
        )
        assert done.exit_code == 0
    assert classified == [Workspace(tmp_path).served] * 2
