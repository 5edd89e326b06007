"""Edits of code, schema or weights rerun the affected nodes only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2

from knet.runs.registry import RunRegistry

pytestmark = pytest.mark.e2e

_REPOSITORY = Path(__file__).resolve().parents[2]
_TRAINING = {
    "Trainer-mobilenet",
    "Evaluator-mobilenet",
    "ModelSelector",
    "ModelGate",
    "ServingValidator",
    "Pusher",
}


class EditableRun:
    """A copy of the code, run with one tiny candidate that has a weights file."""

    def __init__(self, make_knet: Callable[..., Any], folder: Path) -> None:
        self.tree = folder / "tree"
        for package in ("pipeline", "components", "schemas", "knet"):
            shutil.copytree(_REPOSITORY / package, self.tree / package)
        self.weights = folder / "mobilenet.weights.h5"
        self.write_weights(seed=0)
        self.knet = make_knet(tree=self.tree)
        self.settings = (
            f"candidates={{mobilenet: {{alpha: 0.25, weights: {self.weights}}}}}",
            "tuning=null",
        )
        assert set(self.states().values()) == {"done"}

    def write_weights(self, *, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        shape = (32, 32, 3)
        backbone = keras.applications.MobileNet(
            alpha=0.25, include_top=False, weights=None, input_shape=shape
        )
        backbone.save_weights(self.weights, overwrite=True)

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.tree / file
        text = path.read_text("utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), "utf-8")

    def states(self) -> dict[str, str]:
        finished = self.knet.run(*self.settings)
        assert finished.code == 0, finished.stdout + finished.stderr
        return finished.states()

    def transform_executions(self) -> int:
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.knet.output / "metadata.sqlite")
        return len(
            mlmd.MetadataStore(config).get_executions_by_type("tfx.components.transform.component.Transform")
        )

    def rerun(self) -> set[str]:
        return {node for node, state in self.states().items() if state == "done"}


@pytest.fixture(scope="module")
def run(make_knet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> EditableRun:
    return EditableRun(make_knet, tmp_path_factory.mktemp("editable"))


def test_edited_weights_retrain(run: EditableRun) -> None:
    run.write_weights(seed=1)
    assert run.rerun() == _TRAINING


def test_edited_comments_and_docstrings_rerun_nothing(run: EditableRun) -> None:
    run.replace("pipeline/config/cron.py", "# Smallest and largest number", "# Lowest and highest number")
    run.replace("knet/training/trainer.py", '"""Train, restore', '"""Train the model, restore')
    assert run.rerun() == set()


def test_edited_optimiser_retrains(run: EditableRun) -> None:
    run.replace("knet/models/optimizer.py", "momentum: Any = 0.9,", "momentum: Any = 0.8,")
    assert run.rerun() == _TRAINING


def test_edited_preprocessing_transforms_and_retrains(run: EditableRun) -> None:
    run.replace("knet/training/preprocessing.py", "tf.square(mean), 1.0)", "tf.square(mean), 4.0)")
    assert run.rerun() == {"Transform", *_TRAINING}


@pytest.fixture(scope="module")
def edited_schema(run: EditableRun) -> tuple[Any, list[int]]:
    """A run whose schema does not allow 400X; the numbers of Transform executions before and after it."""
    before = run.transform_executions()
    run.replace("schemas/breakhis.pbtxt", '  value: "400X"\n', "")
    return run.knet.run(*run.settings), [before, run.transform_executions()]


def test_edited_schema_revalidates_without_ingesting(edited_schema: tuple[Any, list[int]]) -> None:
    states = edited_schema[0].states()
    assert states.pop("DataGate") == "failed"
    assert states.pop("BreakHisExampleGen") == "cached"
    assert states == dict.fromkeys(("ImportSchemaGen", "StatisticsGen", "ExampleValidator"), "done")


def test_failing_data_gate_exits_with_2_and_names_the_anomaly(
    edited_schema: tuple[Any, list[int]],
) -> None:
    finished = edited_schema[0]
    assert finished.code == 2
    assert "magnification" in finished.stderr and "400X" in finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr


def test_failing_data_gate_writes_a_page_but_no_statistics(
    edited_schema: tuple[Any, list[int]],
) -> None:
    output = edited_schema[0].output
    *_, page = sorted((output / "reports").glob("*/data.html"))
    assert "<strong>Not passed</strong>" in page.read_text("utf-8")
    stored = RunRegistry(output / "registry").previous_statistics()
    assert stored is not None and stored.run_id != page.parent.name


def test_failing_data_gate_leaves_no_transform_execution(edited_schema: tuple[Any, list[int]]) -> None:
    before, after = edited_schema[1]
    assert 0 < before == after
