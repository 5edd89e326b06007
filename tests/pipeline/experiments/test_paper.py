"""The paper's comparison trains every model once, and evaluates its snapshots on test patients."""

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

from knet.base.errors import UserError
from knet.runs.record import Execution, OutputArtifact
from pipeline.config.candidate import candidate_from_config
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.experiments import paper
from pipeline.experiments.paper import SCALES, Scale, load_paper_config, run_paper

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
    model = candidate.model(pixel_statistics=([0.0] * 3, [1.0] * 3))
    for epoch in SCALES["smoke"].epochs:  # they predict class 0, and after the last epoch class 1
        bias = [50.0, 0.0] if epoch < SCALES["smoke"].epochs[-1] else [0.0, 50.0]
        model.get_layer("head").layers[-2].bias.assign(bias)
        model.save_weights(tmp_path / f"epoch-{epoch}.weights.h5")
    model.save(tmp_path / "model.keras")
    history = {"epochs": [{"epoch": 1}, {"epoch": 2}], "best_epoch": 1, "stopped_after": 2}
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
                    write_transformed(pixels, [0] * 6 + [1] * 2, [f"patient {n // 2}" for n in range(8)])
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
def test_run_paper_evaluates_snapshots_of_one_training(
    graph: list[tuple[Config, str]], tmp_path: Path
) -> None:
    shown = io.StringIO()
    results = run_paper("smoke", [f"output={tmp_path / 'runs'}", *SMALL], console=Console(file=shown))
    (first, split), (last, same_split) = graph
    assert (first.training.epochs, first.training.snapshots) == (5, (2, 3, 4, 5))
    assert (last.training.fine_tune, last.training.snapshots, split) == ("all", (), same_split)
    assert results["synthetic"] and results["scale"] == "smoke"
    assert list(results["evaluations"].values())[-2:] == ["5 epochs", "early stopping"]
    model = results["models"]["mobilenet"]
    assert (model["best_epoch"], model["stopped_after"], len(model["epochs"])) == (1, 2, 2)
    assert model["majority_share"] == 0.75
    accuracies = {name: metrics["accuracy"][0] for name, metrics in model["metrics"].items()}
    assert accuracies == {
        **dict.fromkeys(("2-epochs", "3-epochs", "4-epochs"), 0.75),
        **dict.fromkeys(("5-epochs", "early-stopping"), 0.25),
    }
    value, low, high = model["depths"]["all"]["accuracy"]
    assert 0 <= low <= value <= high <= 1
    saved = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    backbone = saved.get_layer("backbone")
    assert model["parameters"] == saved.count_params() > model["backbone_parameters"]
    assert model["backbone_parameters"] == backbone.count_params()
    assert model["flops"] > model["backbone_flops"] == CONVOLUTION_FLOPS
    lines = shown.getvalue().splitlines()
    assert lines[0] == "1 of 2: mobilenet, 5 epochs"
    assert lines[1].startswith("2 of 2: mobilenet, all blocks from the first epoch, about ")
    json.dumps(results)


def test_paper_refuses_more_than_two_classes() -> None:
    with pytest.raises(UserError, match=r"^data\.classes: .*two classes, not 8; .*knet experiment folds"):
        load_paper_config("smoke", ["data.label=subtype"])


@pytest.mark.parametrize("name", SCALES)
def test_schedules_are_configurations(name: str) -> None:
    scale = SCALES[name]
    main, *depths = (load_paper_config(name, one.overrides).training for one in scale.schedules())
    assert main.snapshots == scale.epochs and main.epochs == max(scale.epochs)
    assert main.early_stopping_patience < main.epochs
    assert [(one.fine_tune, one.blocks) for one in depths] == [("blocks", 0), ("blocks", 2), ("all", None)]
    assert {one.epochs for one in depths} == {main.epochs} and not any(one.snapshots for one in depths)
    assert max(scale.drawn_epochs) == main.epochs


def test_full_scale_has_the_epochs_of_the_paper() -> None:
    assert SCALES["full"].epochs == (75, 100, 150, 200)
    assert SCALES["full"].preset == "paper"
