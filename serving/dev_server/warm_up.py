"""Answers the requests that were exported with a model before anyone else's, as TF Serving does."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from grpc import StatusCode
from tensorflow_serving.apis import prediction_log_pb2

from serving.dev_server.loaded_version import LoadedVersion, Signature
from serving.dev_server.refusal import Refusal
from serving.dev_server.tensors import array_of

_FILE = "assets.extra/tf_serving_warmup_requests"
_DEFAULT = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def warm_up(version: LoadedVersion) -> int:
    """Answers them, and says how many there were.

    Raises:
        Refusal: the model does not answer one; TF Serving does not load such a model either.
    """
    file = version.folder / _FILE
    if not file.is_file():
        return 0
    records = list(tf.data.TFRecordDataset([str(file)]).as_numpy_iterator())
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        signature = predict_signature(version, request.model_spec)
        arrays = {name: array_of(name, proto) for name, proto in request.inputs.items()}
        signature.check(arrays)
        version.run(signature, arrays)
    return len(records)


def predict_signature(version: LoadedVersion, spec: Any) -> Signature:
    """The signature that a predict request asks.

    Raises:
        Refusal: there is none of that name.
    """
    name = spec.signature_name or _DEFAULT
    signature = version.signature(name)
    if signature is None:
        raise Refusal(StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return signature
