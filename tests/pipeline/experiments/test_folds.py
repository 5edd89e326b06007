"""The cross-validation runs the pipeline once for each seed and fold, and collects the test predictions."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from knet.base import schema_names
from knet.data.source import ImageFile
from knet.runs.record import Execution, OutputArtifact
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.experiments import folds
from pipeline.experiments.external import ExternalImages
from pipeline.experiments.folds import cross_validate

CANDIDATES = "candidates={deep: {backbone: vgg16}, wide: {backbone: mobilenet}}"


def execution(cached: bool, **outputs: Path) -> Execution:
    return Execution(
        id=1,
        cached=cached,
        outputs={name: OutputArtifact(id=2, uri=uri, properties={}) for name, uri in outputs.items()},
    )


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Replace the pipeline by files of one image in each split; return the configurations that it ran."""
    configs: list[Config] = []

    def run_down_to(last: list[str], config: Config, data: Any, **_: Any) -> dict[str, Execution]:
        configs.append(config)
        executions = {}
        for node in last:
            candidate = node.partition("-")[2]
            folder = tmp_path / f"{candidate}-{config.seed}-{config.data.split.fold}"
            (folder / "predictions").mkdir(parents=True)
            pd.DataFrame(
                {
                    schema_names.CANDIDATE: candidate,
                    schema_names.IMAGE_PATH: ["1.png", "2.png"],
                    schema_names.SPLIT: ["validation", "test"],
                    schema_names.SCORE: [0.1, 0.9],
                }
            ).to_parquet(folder / "predictions" / "shard.parquet")
            (folder / "history.json").write_text(json.dumps({"best_epoch": 3}), encoding="utf-8")
            executions[f"Trainer-{candidate}"] = execution(False, model=folder, model_run=folder)
            executions[node] = execution(False, evaluation=folder)
        return executions

    calibration = SimpleNamespace(threshold=0.5)
    info = SimpleNamespace(learning_rate=0.01, epochs=5, seconds=2.0, calibration=calibration)
    monkeypatch.setattr(folds, "run_down_to", run_down_to)
    monkeypatch.setattr(folds, "prepare_data", lambda _: SimpleNamespace(source=tmp_path))
    monkeypatch.setattr(folds, "schema_file", lambda *_: tmp_path)
    monkeypatch.setattr(folds, "read_model_info", lambda _: info)
    return configs


def test_cross_validate_tests_every_fold_with_every_seed(ran: list[Config], tmp_path: Path) -> None:
    shown = io.StringIO()
    tested = cross_validate(
        lambda overrides: load_config("demo", ["seed=7", CANDIDATES, *overrides]),
        cast(Any, SimpleNamespace(source=tmp_path / "sample: images")),
        folds=3,
        repeats=2,
        probe=None,
        console=Console(file=shown),
    )
    assert [(config.seed, config.data.split.fold) for config in ran] == [
        (seed, fold) for seed in (7, 8) for fold in range(3)
    ]
    assert {config.data.split.folds for config in ran} == {3}
    # Sample images depend on the seed: all repeats have those of the first.
    assert {config.data.source for config in ran} == {tmp_path / "sample: images"}
    assert tested.names == ["deep", "wide"] and tested.seeds == (7, 8)
    assert len(tested.predictions) == len(tested.trainings) == 12
    assert set(tested.predictions[schema_names.SPLIT]) == {"test"}
    assert sorted(tested.predictions["fold"].unique()) == [1, 2, 3]
    first = tested.trainings[0]
    assert (first["candidate"], first["seed"], first["fold"], first["best_epoch"]) == ("deep", 7, 1, 3)
    assert "6 of 6: fold 3, seed 8" in shown.getvalue()


def test_external_images_of_known_patients_have_one_prediction(
    ran: list[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patient of fold 2 has one prediction, and a patient who is in no fold the mean of all models."""
    folds_of = {"p0": 0, "p1": 1, "p2": 2}
    images = tuple(ImageFile(f"{name}.png", "malignant", name) for name in ("p1", "new"))

    def plan_data(config: Config, _: Any) -> tuple[Config, None, Any]:
        fold = config.data.split.fold
        assignment = {name: "test" if of == fold else "train" for name, of in folds_of.items()}
        return config, None, SimpleNamespace(assignment=assignment)

    def predict(model: Path, images: ExternalImages) -> Any:
        score = 0.2 + 0.3 * int(model.name.rpartition("-")[2])  # by the number of the fold
        return np.array([[1 - score, score]] * len(images.images))

    monkeypatch.setattr(folds, "plan_data", plan_data)
    monkeypatch.setattr(folds, "_served_probabilities", predict)
    tested = cross_validate(
        lambda overrides: load_config("demo", [CANDIDATES, *overrides]),
        cast(Any, SimpleNamespace(source=tmp_path)),
        folds=3,
        repeats=1,
        probe=None,
        console=Console(file=io.StringIO()),
        external=ExternalImages(images, cast(Any, None), "scanner", synthetic=False, unusable=0),
    )
    assert tested.external_predictions is not None
    wide = tested.external_predictions[tested.external_predictions[schema_names.CANDIDATE] == "wide"]
    rows = wide.set_index(schema_names.PATIENT)
    assert rows["models"].to_dict() == {"p1": 1, "new": 3}
    assert rows[schema_names.SCORE].to_dict() == pytest.approx({"p1": 0.5, "new": 0.5})
    assert set(rows[schema_names.LABEL]) == {1}
