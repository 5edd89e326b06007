"""Requests that TF Serving answers to itself when it loads a model, so that the first user need not wait."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from pipeline import features

_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warm_up_requests(folder: Path) -> None:
    """Adds one request for `serving_default` to a SavedModel: a small synthetic image.

    Args:
        folder: of the SavedModel.
    """
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    image = tf.io.encode_png(np.stack([np.tile(ramp, (32, 1))] * 3, axis=-1)).numpy()
    request = predict_pb2.PredictRequest(
        model_spec={"name": features.MODEL_NAME, "signature_name": features.SERVING_SIGNATURE},
        inputs={features.SERVING_INPUT: tf.make_tensor_proto([image], tf.string, [1])},
    )
    log = prediction_log_pb2.PredictionLog(predict_log={"request": request})
    (folder / _FILE).parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / _FILE)) as writer:
        writer.write(log.SerializeToString(deterministic=True))
