"""Says what a signature of a SavedModel is for: TensorFlow writes that all are for Predict."""

from __future__ import annotations

from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

_FILE = "saved_model.pb"


def set_method_name(folder: Path, *, signature: str, method: str) -> None:
    """Changes a SavedModel's file.

    Args:
        folder: of the SavedModel.
        signature: its name.
        method: of TF Serving, such as `tensorflow/serving/classify`.
    """
    saved_model = saved_model_pb2.SavedModel.FromString((folder / _FILE).read_bytes())
    for graph in saved_model.meta_graphs:
        graph.signature_def[signature].method_name = method
    (folder / _FILE).write_bytes(saved_model.SerializeToString(deterministic=True))
