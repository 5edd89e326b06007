"""Message classes of TF Serving's API, compiled by protoc into a descriptor file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.internal import builder


def load_messages(file: Path) -> dict[str, Any]:
    """Build the top-level message classes of a descriptor file.

    They are in a new descriptor pool, since the official messages of the same names may be imported in the
    same process.

    Args:
        file: Serialized FileDescriptorSet, as `protoc --descriptor_set_out` writes it.

    Returns:
        Message classes by name.
    """
    pool = descriptor_pool.DescriptorPool()
    messages: dict[str, Any] = {}
    for part in descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes()).file:
        # protoc's generated modules call this function, so every release of protobuf has it.
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
