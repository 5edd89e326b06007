"""What one stack wrote, the other reads: models, evaluations, the pipeline root and the MLMD database.

`make test-current` runs this in both directions; CROSSOVER names the folder that the other stack left.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from make_crossover import held_out_images, knet_run, probabilities
from ml_metadata.proto import metadata_store_pb2

from knet.base import schema_names
from knet.client import Client
from knet.data import breakhis
from knet.evaluation.tfma_config import eval_config, read_metrics
from knet.models.model_info import read_decision
from knet.runs.registry import RunRegistry
from knet.serving.dev_server.server import DevServer
from pipeline.config.config import BeamConfig
from pipeline.config.load import load_config
from pipeline.runners.beam import beam_args

pytestmark = pytest.mark.e2e


class Left:
    """What the other stack left."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "out"
        self.answers = json.loads((folder / "answers.json").read_text("utf-8"))
        self.served = self.output / "serving" / schema_names.MODEL_NAME
        self.model = self.served / self.answers["version"]
        self.probabilities = np.array(self.answers["probabilities"])

    @property
    def store(self) -> mlmd.MetadataStore:
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.output / "metadata.sqlite")
        return mlmd.MetadataStore(config)

    def report(self) -> dict[str, Any]:
        """The oldest run's figures."""
        first = min((self.output / "reports").glob("*/report.json"))
        report: dict[str, Any] = json.loads(first.read_text("utf-8"))
        return report


@pytest.fixture(scope="module")
def left() -> Left:
    if "CROSSOVER" not in os.environ:
        pytest.skip("needs both stacks: run by make test-current")
    return Left(Path(os.environ["CROSSOVER"]))


def test_the_other_stack_is_another_one(left: Left) -> None:
    assert left.answers["tensorflow"] != tf.__version__


def test_its_model_gives_the_same_probabilities(left: Left) -> None:
    ours = probabilities(left.model, held_out_images(left.output))
    np.testing.assert_allclose(ours, left.probabilities, atol=1e-5)


def test_its_model_is_served_with_the_same_probabilities(left: Left) -> None:
    with DevServer(left.served, port=0) as server, Client(server.address) as client:
        predictions = client.predict(held_out_images(left.output))
    classes = load_config("demo").data.classes
    served = [[p.probabilities[name] for name in classes] for p in predictions]
    np.testing.assert_allclose(served, left.probabilities, atol=1e-5)


def test_its_model_is_evaluated_to_the_same_figures(left: Left, tmp_path: Path) -> None:
    (examples,) = (left.output / "artifacts").glob("BreakHisExampleGen/examples/*/Split-test")
    decision = read_decision(left.model)
    classes, threshold = decision.classes, decision.threshold
    config = eval_config(slices=breakhis.SLICES, threshold=threshold, classes=classes)
    tfma.run_model_analysis(
        eval_shared_model=tfma.default_eval_shared_model(
            eval_saved_model_path=str(left.model), eval_config=config
        ),
        eval_config=config,
        data_location=f"{examples}/*.gz",
        output_path=str(tmp_path),
        pipeline_options=PipelineOptions(beam_args(BeamConfig())),
    )
    report = left.report()
    expected = report["candidates"][report["winner"]]["metrics"]["test"]
    found = read_metrics(tmp_path)[frozenset({(schema_names.SPLIT, "test")})]
    # Areas below curves TFMA has from thresholds, and ours are exact.
    exact = {
        name: np.nan if value is None else value
        for name, value in expected.items()
        if name not in ("roc_auc", "pr_auc")
    }
    assert {name: found[name] for name in exact} == pytest.approx(exact, abs=1e-5, nan_ok=True)
    assert found["roc_auc"] == pytest.approx(expected["roc_auc"], abs=0.03)


def test_its_mlmd_database_is_read(left: Left) -> None:
    nodes = {record["node"] for record in left.report()["nodes"]}
    assert len(left.store.get_executions()) == len(nodes)
    assert {artifact.type for artifact in left.store.get_artifacts()} >= {"Examples", "Model", "PushedModel"}


@pytest.fixture(scope="module")
def continued(left: Left) -> list[int]:
    """A run of ours in the other stack's folder, and how many executions MLMD held before and after."""
    before = len(left.store.get_executions())
    done = knet_run(left.output)
    assert done.returncode == 0, done.stdout + done.stderr
    return [before, len(left.store.get_executions())]


def test_its_pipeline_root_is_continued(left: Left, continued: list[int]) -> None:
    before, after = continued
    assert after == 2 * before
    production = RunRegistry(left.output / "registry").production()
    assert production is not None and int(production.version) > int(left.answers["version"])


def test_nothing_of_it_is_taken_from_the_cache(left: Left, continued: list[int]) -> None:
    states = {e.last_known_state for e in left.store.get_executions()}
    assert states == {metadata_store_pb2.Execution.COMPLETE}
