"""TensorFlow's examples and TF Serving's Predict messages, the same on the wire, without TensorFlow."""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.internal import builder

# A pool of its own, because the official messages bear the same names and may live in the same process.
_POOL = descriptor_pool.DescriptorPool()
_FILES = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("messages.binpb").read_bytes())
_MESSAGES: dict[str, Any] = {}
for _file in _FILES.file:
    # What protoc's own output calls, hence the one way that every release of protobuf has.
    builder.BuildTopDescriptorsAndMessages(
        _POOL.AddSerializedFile(_file.SerializeToString()), __name__, _MESSAGES
    )

TensorProto = _MESSAGES["TensorProto"]
TensorShapeProto = _MESSAGES["TensorShapeProto"]
ModelSpec = _MESSAGES["ModelSpec"]
PredictRequest = _MESSAGES["PredictRequest"]
PredictResponse = _MESSAGES["PredictResponse"]
Example = _MESSAGES["Example"]
