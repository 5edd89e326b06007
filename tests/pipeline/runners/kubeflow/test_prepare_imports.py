"""A container imports what its executor uses."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What TFX's own entrypoint imports for every node.
_SLOW = (
    "apache_beam",
    "keras",
    "tensorflow.python.eager",
    "tensorflow_data_validation.api",
    "tensorflow_model_analysis.api",
    "kfp.client",
)
_BEAM_TOO = ("components.breakhis_example_gen.executor.Executor",)
_LIGHT = (
    "components.data_gate.executor.Executor",
    "components.model_gate.executor.Executor",
    "tfx.components.example_validator.executor.Executor",
    "components.knet_pusher.executor.Executor",
    "tfx.components.schema_gen.import_schema_gen.executor.Executor",
)
_SCRIPT = """
import sys
from pipeline.runners.kubeflow.prepare_imports import prepare_imports
prepare_imports(sys.argv[2])
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
from tfx.utils import import_utils
for path in sys.argv[2:]:
    import_utils.import_class_by_path(path)
found = [name for name in sys.argv[1].split(",") if name in sys.modules]
print(found)
"""


@pytest.mark.parametrize(
    ("executors", "slow"), [(_LIGHT, _SLOW), (_BEAM_TOO, tuple(name for name in _SLOW if "beam" not in name))]
)
def test_what_an_executor_does_not_use_is_not_imported(
    executors: tuple[str, ...], slow: tuple[str, ...]
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT, ",".join(slow), *executors],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"


def test_tensorflow_is_whole_once_it_is_used() -> None:
    script = """
from pipeline.runners.kubeflow.prepare_imports import prepare_imports
prepare_imports("components.data_gate.executor.Executor")
from tensorflow.core.example import example_pb2
import tensorflow as tf
assert tf.constant([1, 2]).numpy().tolist() == [1, 2]
assert isinstance(tf.train.Example(), example_pb2.Example)
import tensorflow_data_validation as tfdv
assert tfdv.load_schema_text and tf.io.gfile.exists("/")
print("whole")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines()[-1:] == ["whole"], ended.stderr
