"""Converts tensors of clients, TensorProtos and JSON, to NumPy arrays and back."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import classification_pb2, predict_pb2

from knet.serving.dev_server.errors import invalid_argument

_MAX_REPEATED = 2**20  # elements of a tensor whose last value is sent once and repeated
_MAX_DIMENSIONS = 32  # that every release of NumPy supports

# TensorProto field of the values, by type.
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}


def array_of(name: str, proto: tensor_pb2.TensorProto) -> NDArray[Any]:
    """Convert the TensorProto of an input.

    Args:
        name: alias of the input, for the error.
        proto: the tensor that a client sent.

    Raises:
        StatusError: the type is not supported, or the number of values does not match the shape.
    """
    field = _FIELDS.get(proto.dtype)
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    invalid_shape = (
        proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0 or len(sizes) > _MAX_DIMENSIONS
    )
    if field is None or invalid_shape:
        raise invalid_argument(f"tensor parsing error: {name}")
    size = math.prod(sizes)
    dtype = tf.dtypes.as_dtype(proto.dtype).as_numpy_dtype
    if proto.tensor_content and field != "string_val":
        values = _from_content(proto.tensor_content, np.dtype(dtype))
    else:
        values = checked_array(name, getattr(proto, field), dtype)
        if values.size and values.size < size <= _MAX_REPEATED:
            values = np.pad(values, (0, size - values.size), "edge")
    if values.size != size:
        raise invalid_argument(f"tensor parsing error: {name}")
    return values.reshape(sizes)


def proto_of(array: NDArray[Any]) -> tensor_pb2.TensorProto:
    """Convert an output, with the values in the field of their type, as TF Serving does."""
    dtype = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field = _FIELDS.get(dtype)
    if field is None:
        proto.tensor_content = array.tobytes()
    else:
        getattr(proto, field).extend(array.ravel().tolist())
    return proto


def _from_content(content: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values in `tensor_content`; none if it ends within a value."""
    return np.empty(0, dtype) if len(content) % dtype.itemsize else np.frombuffer(content, dtype)


def checked_array(name: str, values: Sequence[Any], dtype: Any) -> NDArray[Any]:
    """Convert values to an array of a type; small integer types are sent as larger ones.

    Args:
        name: alias of the input, for the error.
        values: numbers, strings or bytes.
        dtype: NumPy type of the input.

    Raises:
        StatusError: a value is out of the type's range.
    """
    array = np.empty(len(values), dtype)
    if array.dtype.kind in "iu" and len(values):
        limits = np.iinfo(array.dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise invalid_argument(f"tensor parsing error: {name} has a value beyond {array.dtype.name}")
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite
        array[:] = values
    return array


Inputs = Mapping[str, Any]  # TensorInfo by alias


def read_predict_request(
    body: bytes, request: predict_pb2.PredictRequest, inputs_of: Callable[[str], Inputs]
) -> bool:
    """Parse a JSON body into a request's signature name and inputs.

    Args:
        body: JSON with `instances` (rows) or `inputs` (columns).
        request: message to fill; its model_spec has all fields but the signature.
        inputs_of: returns the inputs of a signature by its name.

    Returns:
        Whether the inputs are rows; the reply must then have rows too.

    Raises:
        StatusError: the body is not such JSON.
    """
    tree = _parse(body, request)
    inputs = inputs_of(request.model_spec.signature_name)
    if ("instances" in tree) == ("inputs" in tree):
        if "inputs" in tree:
            raise invalid_argument(
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
            )
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    by_row = "instances" in tree
    values = _columns(tree["instances"], inputs) if by_row else _by_alias(tree["inputs"], inputs)
    for name, info in inputs.items():
        if name not in values:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        request.inputs[name].CopyFrom(proto_of(_array(name, values[name], tf.dtypes.as_dtype(info.dtype))))
    return by_row


def read_classification_request(body: bytes, request: classification_pb2.ClassificationRequest) -> None:
    """Parse a JSON body into a request's signature name and examples.

    Raises:
        StatusError: the body is not such JSON.
    """
    tree = _parse(body, request)
    examples = tree.get("examples")
    if not isinstance(examples, list) or not examples:
        raise invalid_argument(
            "When method is classify, key 'examples' is expected and must be a list with an example"
        )
    target: Any = request.input.example_list
    if "context" in tree:
        target = request.input.example_list_with_context
        _fill_example(target.context, tree["context"])
    for example in examples:
        _fill_example(target.examples.add(), example)


def predict_reply(response: predict_pb2.PredictResponse, *, by_row: bool) -> dict[str, Any]:
    """Convert a reply to JSON; a single output has no name.

    Args:
        response: the reply.
        by_row: whether to return rows (`predictions`) or columns (`outputs`).

    Raises:
        StatusError: rows are requested of outputs that differ in their number of rows.
    """
    columns = {name: _json_values(name, array_of(name, proto)) for name, proto in response.outputs.items()}
    if not by_row:
        return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
    for name, proto in response.outputs.items():
        if not proto.tensor_shape.dim:
            raise invalid_argument(f"Tensor name: {name} has no shape information")
    if len({len(column) for column in columns.values()}) != 1:
        raise invalid_argument(
            "Tensors have inconsistent batch sizes: ask with 'inputs' instead of 'instances'"
        )
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    return {
        "predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    }


def classification_reply(response: classification_pb2.ClassificationResponse) -> dict[str, Any]:
    """Convert a reply to JSON: for each example, pairs of class and score."""
    return {
        "results": [
            [[item.label, _shortest(np.float32(item.score)).item()] for item in classes.classes]
            for classes in response.result.classifications
        ]
    }


def _parse(body: bytes, request: Any) -> dict[str, Any]:
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from None
    if not isinstance(tree, dict):
        raise invalid_argument("JSON Value: Is not object")
    name = tree.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument("'signature_name' key must be a string value.")
    request.model_spec.signature_name = name
    return tree


def _columns(instances: Any, inputs: Inputs) -> dict[str, list[Any]]:
    if not isinstance(instances, list) or not instances:
        raise invalid_argument("Excepting 'instances' to be an list/array with values")
    if not _is_object(instances[0]):
        if len(inputs) > 1:
            raise invalid_argument(
                "instances is a plain list, but expecting list of objects as multiple input tensors required "
                "as per tensorinfo_map"
            )
        if any(map(_is_object, instances)):
            raise invalid_argument("Expecting value/list but got object in 'instances'")
        return {next(iter(inputs)): instances}
    for number, row in enumerate(instances):
        if not _is_object(row):
            raise invalid_argument(f"Expecting object but got list at item {number} of input list")
        if set(row) != set(inputs):
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. "
                f"JSON object keys must be equal to: {','.join(sorted(inputs))}"
            )
    return {name: [row[name] for row in instances] for name in inputs}


def _by_alias(values: Any, inputs: Inputs) -> dict[str, Any]:
    if _is_object(values):
        return dict(values)
    if len(inputs) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    return {next(iter(inputs)): values}


def _is_object(value: Any) -> bool:
    """Whether a value is a JSON object, but not base64 bytes."""
    return isinstance(value, dict) and set(value) != {"b64"}


def _array(name: str, value: Any, dtype: tf.DType) -> NDArray[Any]:
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    flat: list[Any] = []
    _flatten(value, shape, dtype, flat)
    return checked_array(name, flat, dtype.as_numpy_dtype).reshape(shape)


def _flatten(value: Any, shape: list[int], dtype: tf.DType, flat: list[Any]) -> None:
    if not shape:
        flat.append(_scalar(value, dtype))
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise invalid_argument(f"Encountered list at unexpected size or level, expected size: {shape[0]}")
    for item in value:
        _flatten(item, shape[1:], dtype, flat)


_FLOATS = {tf.float32, tf.float64}
_NUMBERS = {*_FLOATS, tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint32, tf.uint64}


def _scalar(value: Any, dtype: tf.DType) -> Any:
    if dtype == tf.string:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict):
            return _decode_base64(value)
    elif dtype == tf.bool:
        if isinstance(value, bool):
            return value
    elif type(value) in (int, float) and dtype in (_FLOATS if type(value) is float else _NUMBERS):
        return value
    raise invalid_argument(f"JSON Value: {json.dumps(value)[:80]} is not of expected type: {dtype.name}")


def _decode_base64(value: Mapping[str, Any]) -> bytes:
    encoded = value.get("b64")
    if len(value) != 1 or not isinstance(encoded, str):
        raise invalid_argument("JSON Value: not formatted correctly for base64 data")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_argument("Unable to base64 decode") from None


def _fill_example(example: Any, tree: Any) -> None:
    if not isinstance(tree, dict):
        raise invalid_argument("Example must be JSON object")
    for name, content in tree.items():
        values = content if isinstance(content, list) else [content]
        feature = example.features.feature[name]
        if all(isinstance(value, str | dict) for value in values):
            feature.bytes_list.value.extend(_scalar(value, tf.string) for value in values)
        elif all(isinstance(value, int) for value in values):
            _extend(name, feature.int64_list, values)
        elif all(isinstance(value, float) for value in values):
            _extend(name, feature.float_list, values)
        else:
            raise invalid_argument(f"Unexpected element type in feature: {name}")


def _extend(name: str, target: Any, values: list[Any]) -> None:
    try:
        target.value.extend(values)
    except ValueError:
        raise invalid_argument(f"Feature: {name} has a number that is out of range") from None


_BYTES_SUFFIX = "_bytes"  # string outputs with this suffix are bytes, others text


def _json_values(name: str, array: NDArray[Any]) -> Any:
    """Convert an array to nested lists of JSON values."""
    if array.dtype == object:
        encode = _b64 if name.endswith(_BYTES_SUFFIX) else _text
        flat = np.empty(array.size, object)
        flat[:] = [encode(value) for value in array.ravel()]
        return flat.reshape(array.shape).tolist()
    return (_shortest(array) if array.dtype == np.float32 else array).tolist()


def _shortest(array: Any) -> Any:
    """Convert float32 to the doubles with the same shortest text: 0.2, not 0.20000000298023224."""
    return np.asarray(array).astype(str).astype(np.float64)


def _b64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode("ascii")}


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
