"""Executor of KnetTuner with a fake objective."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tfx.types import standard_artifacts

from components.knet_tuner import executor
from knet.tuning.folds import FoldEvaluation
from knet.tuning.plan import SearchPlan
from pipeline.config.candidate import candidate_from_config
from pipeline.config.config import Config
from pipeline.config.load import load_config


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[SearchPlan]:
    """Replace the objective by the momentum; return the list of evaluated plans."""
    plans: list[SearchPlan] = []

    def evaluate(plan: SearchPlan) -> Callable[..., float]:
        plans.append(plan)
        return lambda values, epochs: values["momentum"]

    monkeypatch.setattr("knet.tuning.folds.FoldEvaluation", evaluate)
    return plans


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that runs the executor on examples of three splits and returns its output folder."""
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    examples.split_names = json.dumps(["train", "validation", "test"])

    def run(*overrides: str, name: str = "out", previous: Path | None = None) -> Path:
        config = load_config("demo", ["tuning.method=random", "tuning.trials=5", *overrides])
        outputs = {
            "best_hyperparameters": standard_artifacts.HyperParameters(),
            "trials": standard_artifacts.TunerResults(),
        }
        for output, artifact in outputs.items():
            artifact.uri = str(tmp_path / name / output)
        executor.Executor().Do(
            {"examples": [examples]},
            {output: [artifact] for output, artifact in outputs.items()},
            properties(config, tmp_path, previous),
        )
        return tmp_path / name

    return run


def read(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "trials" / "trials.csv", float_precision="round_trip")


def properties(config: Config, folder: Path, previous: Path | None) -> dict[str, Any]:
    assert config.tuning is not None
    return {
        "candidate": candidate_from_config(config, "mobilenet", synthetic_data=True).model_dump_json(),
        "tuning": config.tuning.model_dump_json(),
        "cache_root": str(folder / "maps"),
        "searches": str(folder / "searches"),
        "previous_trials": str(previous or ""),
        "previous_digest": "",
        "pod_hours": 0,
        "weights_digest": "none",
    }


def test_tuner_writes_the_best_values_and_all_trials(node: Any, plans: list[SearchPlan]) -> None:
    out = node()
    trials = read(out)
    assert len(trials) == 5
    (file,) = (out / "best_hyperparameters").iterdir()  # Trainer takes the only one
    best = json.loads(file.read_text("utf-8"))["values"]
    assert best == trials.loc[trials["val_loss"].idxmin(), ["learning_rate", "momentum"]].to_dict()
    assert best["momentum"] == trials["momentum"].min() < 0.9
    summary = json.loads((out / "trials" / "summary.json").read_text("utf-8"))
    assert summary["values"] == best and summary["paper_score"] == 0.9
    assert (summary["trials"], summary["failed"], summary["score"]) == (5, 0, best["momentum"])


def test_tuner_reads_training_patients_only(node: Any, plans: list[SearchPlan], tmp_path: Path) -> None:
    node()
    (plan,) = plans
    assert plan.arguments["train_files"] == [str(tmp_path / "examples" / "Split-train" / "*")]
    assert FoldEvaluation.__name__ in plan.evaluation


def test_tuner_resumes_with_any_number_of_workers(
    node: Any, plans: list[SearchPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(executor, "write_best_hyperparameters", interrupt)
        with pytest.raises(KeyboardInterrupt):
            node()
    assert len(list((tmp_path / "searches" / "mobilenet").iterdir())) == 1
    monkeypatch.setattr("knet.tuning.search.run_workers", lambda folder, workers: None)
    node("tuning.workers=2", name="again")
    assert len(plans) == 1  # all trials were there
    assert not list((tmp_path / "searches" / "mobilenet").iterdir())


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_tuner_warm_starts_with_the_best_trial(node: Any, plans: list[SearchPlan]) -> None:
    first = read(node())
    table = node(name="first") / "trials" / "trials.csv"
    found = read(node("tuning.warm_start=1", "seed=7", name="second", previous=table))
    assert found["source"].tolist() == ["paper", "warm start", "random", "random", "random"]
    assert found["momentum"][1] == first["momentum"].min()
    assert not np.isin(found["momentum"][2:], first["momentum"]).any()
