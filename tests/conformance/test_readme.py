"""The README's commands for Kubeflow, one after the other as copied, on small images and models."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fork_server import ForkServer

from knet.data.sample_data import write_sample_data
from pipeline.commands.main import cli

pytestmark = pytest.mark.e2e

_README = Path(__file__).resolve().parents[2] / "README.md"
_SMALL = (
    "candidates={mobilenet: {alpha: 0.25, weights: none}}",
    "tuning=null",
    "image.size=32",
    "training.epochs=1",
    "data.split.test_share=0.25",
    "report.explanations=0",
)


def _commands() -> list[list[str]]:
    (block,) = re.findall(r"## Kubeflow\n\n```sh\n(.*?)```", _README.read_text("utf-8"), re.DOTALL)
    return [shlex.split(line, comments=True)[1:] for line in block.splitlines()]


@pytest.fixture
def run(tmp_path: Path, host: str, fork_server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a command in an empty folder; the images and the server are small ones."""
    images = write_sample_data(tmp_path / "images", patients=12, images_per_magnification=1, seed=0)
    stand_ins = {"/path/to/BreaKHis_v1": str(images), "http://localhost:8888": host}
    processes = SimpleNamespace(run=fork_server.run, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr("pipeline.kubeflow.simulator.subprocess", processes)
    monkeypatch.chdir(tmp_path)

    def run(words: list[str]) -> Result:
        words = [stand_ins.get(word, word) for word in words]
        small = [word for setting in _SMALL for word in ("--set", setting)] if "compile" in words else []
        return CliRunner().invoke(cli, [*words, *small], catch_exceptions=False)

    return run


def test_kubeflow_commands_of_the_readme(
    run: Callable[[list[str]], Result], kubeflow_server: Any, tmp_path: Path
) -> None:
    compiling, simulating, scheduling = _commands()
    assert run(compiling).exit_code == 0
    simulated = run(simulating)
    assert simulated.exit_code == 0
    *_, verdict, report = simulated.output.splitlines()
    # The gate of the preset refuses a model of one epoch.
    assert verdict.startswith("not pushed: mobilenet: balanced_accuracy on test is ")
    assert Path(report.removeprefix("report: ")).is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"images", "pipeline.yaml", "runs"}
    assert "scheduled: knet-production" in run(scheduling).output
    assert len(kubeflow_server.recurring_runs) == 1
