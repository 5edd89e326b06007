"""The paper's comparison runs every schedule and evaluates every model on test patients."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from rich.console import Console

from knet.runs.record import Execution, OutputArtifact
from pipeline.config.candidate import candidate_from_config
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.experiments import paper
from pipeline.experiments.paper import EARLY_STOPPING, SCALES, Scale, run_paper

SMALL = (
    "data.sample={patients: 12, images_per_magnification: 1}",
    "candidates={mobilenet: {weights: none, alpha: null}}",
)
# Two convolutions of 4 filters of 3 x 3 and stride 4, on 32 px and 3 channels; a multiply-add is two.
CONVOLUTION_FLOPS = 2 * 9 * 4 * (8 * 8 * 3 + 2 * 2 * 4)
SCHEDULES = SCALES["smoke"].schedules()


def execution(output: str, uri: Path) -> Execution:
    return Execution(id=1, cached=False, outputs={output: OutputArtifact(id=2, uri=uri, properties={})})


@pytest.fixture
def graph(
    tiny_mobilenet: None,
    write_transformed: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[Config, str]]:
    """Replace the pipeline by an untrained model and eight test images; return the list of its runs."""
    candidate = candidate_from_config(
        load_config("demo", ["tuning=null", "image.size=32", *SMALL]), "mobilenet", synthetic_data=True
    )
    candidate.model(pixel_statistics=([0.0] * 3, [1.0] * 3)).save(tmp_path / "model.keras")
    history = {"epochs": [{"epoch": 1}, {"epoch": 2}], "best_epoch": 1}
    (tmp_path / "history.json").write_text(json.dumps(history), encoding="utf-8")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype="uint8")
    ran: list[tuple[Config, str]] = []

    def run_down_to(last: list[str], config: Config, data: Any, **_: Any) -> dict[str, Execution]:
        assert last == ["Trainer-mobilenet"]
        ran.append((config, data.split_sha256))
        test = tmp_path / "transformed" / "Split-test"
        if not test.exists():
            test.parent.mkdir()
            test.symlink_to(
                Path(
                    write_transformed(pixels, [0] * 4 + [1] * 4, [f"patient {n // 2}" for n in range(8)])
                ).parent
            )
        return {
            "Transform": execution("transformed_examples", test.parent),
            "Trainer-mobilenet": execution("model_run", tmp_path),
        }

    monkeypatch.setattr(paper, "run_down_to", run_down_to)
    monkeypatch.setattr(Scale, "schedules", lambda self: (SCHEDULES[0], SCHEDULES[-1]))
    return ran


@pytest.mark.slow
def test_run_paper_evaluates_every_schedule(graph: list[tuple[Config, str]], tmp_path: Path) -> None:
    results = run_paper("smoke", [f"output={tmp_path / 'runs'}", *SMALL], console=Console(file=io.StringIO()))
    assert list(results["runs"]) == ["2-epochs", "all"]
    (first, split), (last, same_split) = graph
    assert (first.training.epochs, last.training.fine_tune, split) == (2, "all", same_split)
    assert results["synthetic"] and results["scale"] == "smoke"
    run = results["runs"]["2-epochs"]["mobilenet"]
    assert run["best_epoch"] == 1 and len(run["epochs"]) == 2
    assert run["majority_share"] == 0.5
    value, low, high = run["metrics"]["accuracy"]
    assert 0 <= low <= value <= high <= 1
    model = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    backbone = model.get_layer("backbone")
    assert run["parameters"] == model.count_params() > run["backbone_parameters"] == backbone.count_params()
    assert run["flops"] > run["backbone_flops"] == CONVOLUTION_FLOPS
    json.dumps(results)


@pytest.mark.parametrize("name", SCALES)
def test_schedules_are_configurations(name: str) -> None:
    scale = SCALES[name]
    configs = {
        schedule.name: load_config(scale.preset, [*scale.overrides, *schedule.overrides])
        for schedule in scale.schedules()
    }
    assert len(configs) == len(scale.schedules())
    for epochs in scale.epochs:
        training = configs[f"{epochs}-epochs"].training
        assert training.epochs == training.early_stopping_patience == epochs
    stopping = configs[EARLY_STOPPING].training
    assert stopping.early_stopping_patience < stopping.epochs == max(scale.epochs)
    depths = [configs[one.name].training for one in scale.schedules() if one.deep]
    assert [(one.fine_tune, one.blocks) for one in depths] == [("blocks", 0), ("blocks", 2), ("all", None)]
    assert len({config.tuning is None for config in configs.values()}) == 1


def test_full_scale_has_the_epochs_of_the_paper() -> None:
    assert SCALES["full"].epochs == (75, 100, 150, 200)
    assert SCALES["full"].preset == "paper"
