"""A container imports what its executor uses."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What TFX's own entrypoint imports for every node.
_KERAS = ("keras.src", "keras_tuner.src")
_TENSORFLOW = ("tensorflow.python.eager",)
_VALIDATION = ("tensorflow_data_validation.api",)
_ANALYSIS = ("tensorflow_model_analysis.api", "tensorflow_model_analysis.evaluators")
_BEAM = ("apache_beam",)
_NEVER = (
    "IPython.core",
    "apache_beam.io.gcp.bigquery_tools",
    "boto3.session",
    "google.cloud.bigquery",
    "google.cloud.pubsub",
    "googleapiclient.discovery",
    "hdfs.client",
    "kfp.client",
    "matplotlib",
    "nltk",
    "pymongo",
    "sacrebleu",
)
# By what no executor of them imports.
_EXECUTORS = {
    (*_KERAS, *_TENSORFLOW, *_VALIDATION, *_ANALYSIS, *_BEAM, "pandas.core"): (
        "components.data_gate.executor.Executor",
        "components.model_gate.executor.Executor",
        "components.model_selector.executor.Executor",
        "tfx.components.example_validator.executor.Executor",
        "components.knet_pusher.executor.Executor",
        "tfx.components.schema_gen.import_schema_gen.executor.Executor",
    ),
    (*_KERAS, *_TENSORFLOW, *_VALIDATION, *_ANALYSIS): ("components.breakhis_example_gen.executor.Executor",),
    (*_KERAS, *_ANALYSIS): (
        "tfx.components.statistics_gen.executor.Executor",
        "tfx.components.transform.executor.Executor",
    ),
    (*_KERAS, *_VALIDATION): ("components.knet_evaluator.executor.Executor",),
    (*_VALIDATION, *_ANALYSIS): (
        "tfx.components.trainer.executor.GenericExecutor",
        "components.knet_tuner.executor.Executor",
        "components.serving_validator.executor.Executor",
    ),
}
_SCRIPT = """
import sys
from pipeline.runners.kubeflow.prepare_imports import prepare_imports
prepare_imports()
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
from tfx.utils import import_utils
for path in sys.argv[2:]:
    import_utils.import_class_by_path(path)
found = [name for name in sys.argv[1].split(",") if name in sys.modules]
print(found)
"""


@pytest.mark.parametrize(("slow", "executors"), _EXECUTORS.items())
def test_what_an_executor_does_not_use_is_not_imported(
    executors: tuple[str, ...], slow: tuple[str, ...]
) -> None:
    assert _last_line(_SCRIPT, ",".join((*slow, *_NEVER)), *executors) == "[]"


def _last_line(script: str, *arguments: str) -> str:
    """Of what a process prints."""
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1]


def test_what_is_used_is_whole() -> None:
    script = """
from pipeline.runners.kubeflow.prepare_imports import prepare_imports
prepare_imports()
from tensorflow.core.example import example_pb2
import tensorflow as tf
assert tf.constant([1, 2]).numpy().tolist() == [1, 2]
assert isinstance(tf.train.Example(), example_pb2.Example)
import tensorflow_data_validation as tfdv
assert tfdv.load_schema_text and tf.io.gfile.exists("/")
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import sdk
assert sdk.EvalConfig and tfma.EvalResult and tfma.metrics.bleu.Bleu
assert tf.keras.version().startswith("3.")
import keras
assert tf.keras.layers.Dense is keras.layers.Dense and keras.wrappers and keras.visualization
from keras import wrappers
assert wrappers.SKLearnClassifier
from apache_beam.io.gcp.bigquery import ReadFromBigQuery
from apache_beam.io.mongodbio import ReadFromMongoDB
from apache_beam.io import PubsubMessage
import pandas
assert pandas.DataFrame
print("whole")
"""
    assert _last_line(script) == "whole"
