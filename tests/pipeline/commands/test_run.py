"""`knet run` after the graph: what it prints about the served version."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from command_line import Finished
from rich.console import Console

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


@pytest.mark.parametrize(("batch", "updates"), [(500, "1 update an epoch"), (8, None)])
def test_run_notes_an_epoch_of_few_updates(
    make_record: Callable[..., RunRecord],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    updates: str | None,
) -> None:
    record = make_record()
    data = replace(record.data, images={**record.data.images, "train": 79})
    monkeypatch.setattr("pipeline.preflight.prepare_data", lambda *_, **__: data)
    local = SimpleNamespace(run_pipeline=lambda *_, **__: record)
    monkeypatch.setitem(sys.modules, "pipeline.runners.local", local)
    settings = ["--set", f"output={tmp_path}", "--set", f"training.batch_size={batch}"]
    done = CliRunner().invoke(main.cli, ["run", "--verbose", *settings], catch_exceptions=False)
    assert "\nconfiguration: preset demo\n" in done.output
    assert ("training.batch_size" in done.output) == bool(updates)
    assert not updates or f"{updates} with 79 training images in 3 views;" in done.output


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--yes"], 0)])
def test_run_that_can_only_be_refused_needs_yes(
    make_record: Callable[..., RunRecord],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
) -> None:
    record = make_record()
    trained = []

    def run_pipeline(*_: Any, **__: Any) -> RunRecord:
        trained.append(record)
        return record

    data = replace(record.data, test_patients={"benign": 1, "malignant": 2})
    monkeypatch.setattr("pipeline.preflight.prepare_data", lambda *_, **__: data)
    local = SimpleNamespace(run_pipeline=run_pipeline)
    monkeypatch.setitem(sys.modules, "pipeline.runners.local", local)
    settings = ["--set", f"output={tmp_path}", "--set", "gate.minimum={recall: 0.5}"]
    monkeypatch.setattr(sys, "argv", ["knet", "run", "--verbose", *settings, *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert (ended.value.code, len(trained)) == (code, 1 if code == 0 else 0)


def test_run_with_failures_exits_with_3_and_names_the_candidate(
    make_record: Callable[..., RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make_record(failures={"vgg16": "Trainer-vgg16: the loss is not finite"})
    monkeypatch.setattr("pipeline.preflight.prepare_data", lambda *_, **__: record.data)
    local = SimpleNamespace(run_pipeline=lambda *_, **__: record)
    monkeypatch.setitem(sys.modules, "pipeline.runners.local", local)
    done = CliRunner().invoke(main.cli, ["run", "--verbose", "--set", f"output={tmp_path}"])
    assert done.exit_code == 3
    assert "failed: Trainer-vgg16: the loss is not finite" in done.stdout
    assert done.stderr == "completed with failures: without vgg16\n"


@pytest.mark.parametrize("width", [60, 80, 160])
def test_outcome_fits_the_width_without_breaking_words(
    make_record: Callable[..., RunRecord], width: int
) -> None:
    file = io.StringIO()
    run.print_outcome(Console(file=file, width=width, markup=False), make_record(choice="best"))
    lines = file.getvalue().splitlines()
    table = lines[: next(number for number, line in enumerate(lines) if line.startswith("winner: "))]
    assert max(map(len, table[1:])) <= width
    words = file.getvalue().split()
    assert {"mobilenet", "vgg16", "winner"} <= set(words) and "…" not in file.getvalue()
    assert ("parameters" in words) and (lines[1].strip() == "mobilenet winner") is (width == 60)


def test_run_ends_with_the_next_steps(
    make_record: Callable[..., RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make_record()
    monkeypatch.setattr("pipeline.preflight.prepare_data", lambda *_, **__: record.data)
    local = SimpleNamespace(run_pipeline=lambda *_, **__: record)
    monkeypatch.setitem(sys.modules, "pipeline.runners.local", local)
    done = CliRunner().invoke(
        main.cli, ["run", "--verbose", "--set", f"output={tmp_path}"], catch_exceptions=False
    )
    served, artifacts = Workspace(tmp_path).served, Workspace(tmp_path).artifacts
    assert done.output.endswith(
        f"serve the model: knet serve {served}\nlearning curves: tensorboard --logdir {artifacts}\n"
    )


@pytest.mark.parametrize("synthetic", [False, True])
def test_run_prints_notes_on_the_split_of_real_data_alone(
    make_record: Callable[..., RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synthetic: bool
) -> None:
    record = make_record()
    data = replace(record.data, synthetic=synthetic, split_notes=("subtype adenosis: none in test",))
    monkeypatch.setattr("pipeline.preflight.prepare_data", lambda *_, **__: data)
    local = SimpleNamespace(run_pipeline=lambda *_, **__: record)
    monkeypatch.setitem(sys.modules, "pipeline.runners.local", local)
    done = CliRunner().invoke(
        main.cli, ["run", "--verbose", "--set", f"output={tmp_path}"], catch_exceptions=False
    )
    assert ("note: subtype adenosis: none in test" in done.output) is not synthetic


_NO_SERVER = "http://127.0.0.1:1"


def test_run_without_the_tracking_server_does_not_start(
    knet: Callable[..., Finished], tmp_path: Path
) -> None:
    done = knet("run", "--set", f"output={tmp_path}", "--set", f"tracking.mlflow={_NO_SERVER}")
    assert done.code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: tracking.mlflow: MLflow at {_NO_SERVER}: Connection refused; ")


def test_run_that_cannot_be_logged_ends_well_and_names_the_command(
    make_record: Callable[..., RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    record = make_record(pushed_version=None)
    monkeypatch.setattr("pipeline.preflight.prepare_data", lambda *_, **__: record.data)
    monkeypatch.setattr("pipeline.preflight.check_tracking", lambda config: None)  # it stops later
    local = SimpleNamespace(run_pipeline=lambda *_, **__: record)
    monkeypatch.setitem(sys.modules, "pipeline.runners.local", local)
    settings = ["--set", f"output={tmp_path}", "--set", f"tracking.mlflow={_NO_SERVER}"]
    done = CliRunner().invoke(main.cli, ["run", "--verbose", *settings], catch_exceptions=False)
    (line,) = (line for line in done.output.splitlines() if line.startswith("warning: "))
    assert done.exit_code == 0
    assert line.startswith(f"warning: not logged: tracking.mlflow: MLflow at {_NO_SERVER}: ")
    assert line.endswith(f"log the run later with knet track {record.run_id}")
