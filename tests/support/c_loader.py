"""Compares the outputs of a SavedModel in TensorFlow's C++ loader with those in Python."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_c
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from knet.serving.dev_server.loaded_version import LoadedVersion


def compare_with_python(model: Path, requests: Sequence[tuple[str, Sequence[bytes]]], *, work: Path) -> int:
    """Send requests and the warm-up file to the C++ loader and to Python, and require equal outputs.

    In Python the model runs in a session, as in the development server. TensorFlow optimizes the functions of
    `tf.saved_model.load` differently, and their outputs differ by rounding.

    Args:
        model: folder of a SavedModel whose signatures have one input, strings.
        requests: signature and input of each.
        work: folder for a file.

    Returns:
        The number of requests.
    """
    requests = [*requests, *_warm_up_requests(model)]
    (graph,) = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes()).meta_graphs
    calls = []
    for name, strings in requests:
        (given,) = graph.signature_def[name].inputs.values()
        outputs = graph.signature_def[name].outputs
        calls.append(
            {
                "feed": given.name,
                "strings": [base64.b64encode(string).decode() for string in strings],
                "fetch": [outputs[alias].name for alias in sorted(outputs)],
            }
        )
    asked = {"library": str(Path(tf.__file__).parent), "model": str(model), "calls": calls}
    (work / "calls.json").write_text(json.dumps(asked), encoding="ascii")
    command = [sys.executable, tensorflow_c.__file__, str(work / "calls.json")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    version = LoadedVersion(model)
    for (name, strings), reply in zip(requests, json.loads(ran.stdout), strict=True):
        signature = version.signature(name)
        assert signature is not None
        (alias,) = signature.inputs
        outputs = version.run(signature, {alias: np.array(strings, object)})
        for (output, expected), found in zip(sorted(outputs.items()), reply, strict=True):
            np.testing.assert_array_equal(_array(found), expected, err_msg=f"{output} of {name}")
    return len(requests)


def _warm_up_requests(model: Path) -> list[tuple[str, list[bytes]]]:
    requests = []
    file = model / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset([str(file)]).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        (tensor,) = request.inputs.values()
        requests.append((request.model_spec.signature_name, tf.make_ndarray(tensor).tolist()))
    return requests


def _array(found: dict[str, Any]) -> NDArray[Any]:
    if "strings" in found:
        array = np.empty(len(found["strings"]), object)
        array[:] = [base64.b64decode(string) for string in found["strings"]]
    else:
        dtype = tf.dtypes.as_dtype(found["type"]).as_numpy_dtype
        array = np.frombuffer(base64.b64decode(found["content"]), dtype)
    return array.reshape(found["shape"])
