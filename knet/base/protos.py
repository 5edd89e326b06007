"""Message classes from a descriptor file that protoc wrote, in a pool of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.internal import builder


def load_messages(file: Path) -> dict[str, Any]:
    """The top-level messages of a descriptor file by name.

    The pool is a new one, because the official messages bear the same names and may live in the same process.
    """
    pool = descriptor_pool.DescriptorPool()
    messages: dict[str, Any] = {}
    for part in descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes()).file:
        # What protoc's own output calls, hence the one way that every release of protobuf has.
        builder.BuildTopDescriptorsAndMessages(
            pool.AddSerializedFile(part.SerializeToString()), __name__, messages
        )
    return messages


_MESSAGES = load_messages(Path(__file__).with_name("proto") / "messages.binpb")

TensorProto = _MESSAGES["TensorProto"]
TensorShapeProto = _MESSAGES["TensorShapeProto"]
ModelSpec = _MESSAGES["ModelSpec"]
PredictRequest = _MESSAGES["PredictRequest"]
PredictResponse = _MESSAGES["PredictResponse"]
Example = _MESSAGES["Example"]
GetModelStatusRequest = _MESSAGES["GetModelStatusRequest"]
GetModelStatusResponse = _MESSAGES["GetModelStatusResponse"]
ModelVersionStatus = _MESSAGES["ModelVersionStatus"]
GetModelMetadataRequest = _MESSAGES["GetModelMetadataRequest"]
GetModelMetadataResponse = _MESSAGES["GetModelMetadataResponse"]
SignatureDefMap = _MESSAGES["SignatureDefMap"]
