"""Runs in which the weights file of a candidate is damaged, and the run after its repair."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

pytestmark = pytest.mark.e2e

_LOST = {"Trainer-vgg16": "failed", "Evaluator-vgg16": "skipped"}
_AFTER_TRAINING = {"ModelSelector", "ModelGate", "ServingValidator", "Pusher"}


class Runs:
    """Runs with the damaged file: two equal ones, one that requires all, one without others; the repaired."""

    def __init__(self, knet: Any, weights: Path) -> None:
        self.output: Path = knet.output
        lost = {"vgg16": {"weights": str(weights)}}
        both = {"mobilenet": {"alpha": 0.25, "weights": "none"}, **lost}
        shared = ("tuning=null", "gate.margin=null")
        settings = (*shared, f"candidates={json.dumps(both)}")
        keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(
            weights
        )
        intact = weights.read_bytes()

        def run_damaged(*settings: str) -> Any:
            weights.write_bytes(intact)  # for the check before the run
            fault = f"fault.damage_before_node('Trainer-vgg16', {str(weights)!r})"
            return knet.run(*settings, before=f"import fault; {fault}")

        self.first = run_damaged(*settings)
        self.second = run_damaged(*settings)
        self.required = run_damaged(*settings, "selection.require_all=true")
        self.alone = run_damaged(*shared, f"candidates={json.dumps(lost)}")
        weights.write_bytes(intact)
        self.repaired = knet.run(*settings)

    def report(self, number: int, file: str) -> Any:
        """Read a JSON file of a run's report; the runs are numbered from 0."""
        folder = sorted((self.output / "reports").iterdir())[number]
        return json.loads((folder / file).read_text("utf-8"))


@pytest.fixture(scope="module")
def runs(make_knet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(make_knet(), tmp_path_factory.mktemp("weights") / "vgg16.weights.h5")


def test_run_goes_on_without_the_failed_candidate(runs: Runs) -> None:
    assert runs.first.code == 3, runs.first.stdout + runs.first.stderr
    states = runs.first.states()
    assert {node: state for node, state in states.items() if state != "done"} == _LOST
    assert "Traceback" not in runs.first.stdout + runs.first.stderr
    assert runs.first.stderr == "completed with failures: without vgg16\n"


def test_decision_record_and_page_name_the_failed_candidate(runs: Runs) -> None:
    decision, record = runs.report(0, "decision.json"), runs.report(0, "report.json")
    assert decision["winner"] == "mobilenet" and set(decision["missing"]) == {"vgg16"}
    assert record["failures"] == decision["missing"]
    assert record["failures"]["vgg16"].startswith("Trainer-vgg16: candidates.vgg16.weights: ")
    assert record["pushed_version"] and record["error"] is None
    folder = sorted((runs.output / "reports").iterdir())[0]
    assert record["failures"]["vgg16"][:40] in (folder / "report.html").read_text("utf-8")


def test_equal_run_tries_the_failed_candidate_again(runs: Runs) -> None:
    assert runs.second.code == 3
    states = runs.second.states()
    assert {node: state for node, state in states.items() if state != "cached"} == _LOST


def test_required_candidate_ends_the_run(runs: Runs) -> None:
    assert runs.required.code == 2 and "candidates.vgg16.weights" in runs.required.stderr
    assert not _AFTER_TRAINING & set(runs.required.states())
    assert runs.report(2, "report.json")["failures"] == {}


def test_run_fails_if_every_candidate_does(runs: Runs) -> None:
    assert runs.alone.code == 2 and "ModelSelector: no candidate is left" in runs.alone.stderr
    assert "failed: Trainer-vgg16: candidates.vgg16.weights" in runs.alone.stdout


def test_repaired_candidate_is_trained_and_compared(runs: Runs) -> None:
    assert runs.repaired.code == 0, runs.repaired.stdout + runs.repaired.stderr
    states = runs.repaired.states()
    assert states["Trainer-mobilenet"] == states["Evaluator-mobilenet"] == "cached"
    done = {node for node, state in states.items() if state == "done"}
    assert done >= {"Trainer-vgg16", "Evaluator-vgg16", "ModelSelector"}
    assert set(runs.report(4, "decision.json")["candidates"]) == {"mobilenet", "vgg16"}
    assert runs.report(4, "decision.json")["missing"] == {}
