"""Tests of `knet monitor` from a log's folder to its exit code and page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from command_line import Finished

from pipeline.commands import main

Ended = tuple[int, str, str]  # exit code, standard output and error


@pytest.fixture
def knet_monitor(
    knet: Callable[..., Finished],
    tmp_path: Path,
    statistics_folder: Path,
    predictions_file: Path,
) -> Callable[..., Ended]:
    """Write a log, and run the command on it."""

    def run(frame: pd.DataFrame, *arguments: object) -> Ended:
        log = tmp_path / "log"
        log.mkdir(exist_ok=True)
        rows = frame.assign(time=frame["time"].map(lambda time: time.isoformat())).to_dict("records")
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (log / "2024-01-31.jsonl").write_text(lines + "{half", encoding="utf-8")
        named = ["--statistics", statistics_folder, "--predictions", predictions_file]
        output = ["--set", f"output={tmp_path / 'output'}"]
        done = knet("monitor", log, *named, *output, *arguments)
        return done.code, done.stdout, done.stderr

    return run


def test_monitor_matching_requests_exit_with_0(
    knet_monitor: Callable[..., Ended], logged: Any, tmp_path: Path
) -> None:
    code, stdout, stderr = knet_monitor(logged(), "--metrics", tmp_path / "knet.prom")
    assert (code, stderr) == (0, "")
    assert "2024-01-31.jsonl:201: truncated" in stdout
    assert f"page: {tmp_path / 'output' / 'monitor.html'}" in stdout
    assert "no drift" in (tmp_path / "output" / "monitor.html").read_text("utf-8")
    assert 'knet_monitor_findings{version="7"} 0.0' in (tmp_path / "knet.prom").read_text("utf-8")


def test_monitor_drift_exits_with_1_and_names_it(
    knet_monitor: Callable[..., Ended], logged: Any, tmp_path: Path
) -> None:
    code, stdout, _ = knet_monitor(logged(eosin=3.0), "--page", tmp_path / "page.html")
    assert code == 1
    assert "version 7: image/eosin: 0." in stdout
    assert (tmp_path / "page.html").is_file() and not (tmp_path / "output" / "monitor.html").exists()


def test_monitor_too_few_images_exit_with_2_without_page(
    knet_monitor: Callable[..., Ended], logged: Any, tmp_path: Path
) -> None:
    code, _, stderr = knet_monitor(logged(99))
    assert code == 2
    assert stderr.startswith(
        "error: too few requests to analyze: version 7: 99 measured images of at least 100"
    )
    assert knet_monitor(logged(), "--version", 8)[0] == 2
    assert not (tmp_path / "output" / "monitor.html").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--before=log", "--baseline-log"),
        ("--least=50", "--min-images"),
        ("--doubted=0.1", "--max-ood-share"),
    ],
)
def test_monitor_old_option_is_refused_with_the_new_name(old: str, new: str) -> None:
    result = CliRunner().invoke(main.cli, ["monitor", "log", old])
    assert result.exit_code == 2
    assert f"{old.partition('=')[0]} was renamed to {new}" in result.output
