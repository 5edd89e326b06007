"""Messages equal the official ones on the wire and coexist with them in one process."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
from google.protobuf.descriptor_pb2 import DescriptorProto
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from knet.base import protos

PAIRS = [
    (protos.TensorProto, tensor_pb2.TensorProto),
    (protos.TensorShapeProto, tensor_shape_pb2.TensorShapeProto),
    (protos.ModelSpec, model_pb2.ModelSpec),
    (protos.PredictRequest, predict_pb2.PredictRequest),
    (protos.PredictResponse, predict_pb2.PredictResponse),
    (protos.Example, example_pb2.Example),
    (protos.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (protos.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
    (protos.ModelVersionStatus, get_model_status_pb2.ModelVersionStatus),
    (protos.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (protos.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (protos.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
]


def fields(message: DescriptorProto, prefix: str = "") -> dict[str, tuple[Any, ...]]:
    """Return what defines the wire format of a message and its nested messages."""
    oneofs = [oneof.name for oneof in message.oneof_decl]
    found = {
        f"{prefix}{field.name}": (
            field.number,
            field.type,
            field.label,
            field.type_name,
            oneofs[field.oneof_index] if field.HasField("oneof_index") else None,
        )
        for field in message.field
    }
    for nested in message.nested_type:
        found |= fields(nested, f"{prefix}{nested.name}.")
    return found


def as_proto(descriptor: Any) -> DescriptorProto:
    proto = DescriptorProto()
    descriptor.CopyToProto(proto)
    return proto


@pytest.mark.parametrize(("ours", "official"), PAIRS, ids=[ours.DESCRIPTOR.name for ours, _ in PAIRS])
def test_message_fields_equal_official_ones(ours: Any, official: Any) -> None:
    compare(ours.DESCRIPTOR, official.DESCRIPTOR)


def compare(ours: Any, official: Any) -> None:
    """Compare two messages and the messages of their fields."""
    assert ours.full_name == official.full_name
    assert fields(as_proto(ours)).items() <= fields(as_proto(official)).items()
    for name, field in ours.fields_by_name.items():
        if field.message_type and field.message_type.file.package != "google.protobuf":
            compare(field.message_type, official.fields_by_name[name].message_type)


def test_version_states_equal_official_ones() -> None:
    ours, official = (
        message.State.items()
        for message in (protos.ModelVersionStatus, get_model_status_pb2.ModelVersionStatus)
    )
    assert ours == official


def test_data_types_are_official_ones() -> None:
    ours, official = (
        {(value.name, value.number) for value in message.DESCRIPTOR.fields_by_name["dtype"].enum_type.values}
        for message in (protos.TensorProto, tensor_pb2.TensorProto)
    )
    assert ours <= official


def test_predict_request_equals_official_one() -> None:
    ours = protos.PredictRequest(
        model_spec={"name": "knet", "version": {"value": 3}, "signature_name": "serving_default"},
        inputs={
            "image": protos.TensorProto(
                dtype="DT_STRING", tensor_shape={"dim": [{"size": 2}]}, string_val=[b"\x89PNG", b""]
            )
        },
        output_filter=["score"],
    )
    official = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert official.model_spec.version.value == 3
    assert tf.make_ndarray(official.inputs["image"]).tolist() == [b"\x89PNG", b""]
    assert official == predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name="knet", version={"value": 3}, signature_name="serving_default"),
        inputs={"image": tf.make_tensor_proto([b"\x89PNG", b""])},
        output_filter=["score"],
    )
    assert official.SerializeToString(deterministic=True) == ours.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    "values",
    [[1.5, -2.5], [2.0], [b"benign", b"malignant"], [1, 2, 3], [True, False]],
    ids=["bytes", "one", "strings", "integers", "booleans"],
)
def test_predict_response_survives_round_trip(values: list[Any]) -> None:
    official = predict_pb2.PredictResponse(
        model_spec=model_pb2.ModelSpec(name="knet", version={"value": 2**40}),
        outputs={"y": tf.make_tensor_proto(values)},
    )
    ours = protos.PredictResponse.FromString(official.SerializeToString())
    assert ours.model_spec.version.value == 2**40
    back = predict_pb2.PredictResponse.FromString(ours.SerializeToString())
    assert back == official


def test_example_equals_official_one_in_bytes() -> None:
    ours, official = protos.Example(), example_pb2.Example()
    for example in (ours, official):
        feature = example.features.feature
        feature["image/encoded"].bytes_list.value.extend([b"\x89PNG", b""])
        feature["label"].int64_list.value.extend([1, -(2**40)])
        feature["image/std_red"].float_list.value.append(0.1)
        feature["empty"].SetInParent()
    serialised = official.SerializeToString(deterministic=True)
    assert ours.SerializeToString(deterministic=True) == serialised
    assert protos.Example.FromString(serialised) == ours
