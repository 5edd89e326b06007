"""TF Serving's Predict messages, the same on the wire as the official ones, without TensorFlow."""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# A pool of its own, because the official messages bear the same names and may live in the same process.
_POOL = descriptor_pool.DescriptorPool()
_FILES = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("messages.binpb").read_bytes())
for _file in _FILES.file:
    _POOL.AddSerializedFile(_file.SerializeToString())

# GetMessageClass came with protobuf 4.22, which dropped GetPrototype later.
_get_class: Any = (
    getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(_POOL).GetPrototype
)

TensorProto = _get_class(_POOL.FindMessageTypeByName("tensorflow.TensorProto"))
TensorShapeProto = _get_class(_POOL.FindMessageTypeByName("tensorflow.TensorShapeProto"))
ModelSpec = _get_class(_POOL.FindMessageTypeByName("tensorflow.serving.ModelSpec"))
PredictRequest = _get_class(_POOL.FindMessageTypeByName("tensorflow.serving.PredictRequest"))
PredictResponse = _get_class(_POOL.FindMessageTypeByName("tensorflow.serving.PredictResponse"))
