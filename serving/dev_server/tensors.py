"""Arrays from TensorProtos that strangers sent, and TensorProtos from arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.dev_server.refusal import invalid

# A few values may stand for a large tensor, whose last one repeats; up to here.
_REPEATED = 2**20  # elements
_DIMENSIONS = 32  # the most that every release of NumPy has

# The field of a TensorProto that holds the values of a type.
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
    """The array of an input.

    Raises:
        Refusal: the type is none of the above, or there are not as many values as the shape says.
    """
    field = _FIELDS.get(proto.dtype)
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    strange = proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0 or len(sizes) > _DIMENSIONS
    if field is None or strange:
        raise invalid(f"tensor parsing error: {name}")
    wanted = math.prod(sizes)
    dtype = tf.dtypes.as_dtype(proto.dtype).as_numpy_dtype
    if proto.tensor_content and field != "string_val":
        values = np.frombuffer(proto.tensor_content, dtype) if _whole(proto, dtype) else np.empty(0, dtype)
    else:
        values = filled(name, getattr(proto, field), dtype)
        if values.size and values.size < wanted <= _REPEATED:
            values = np.pad(values, (0, wanted - values.size), "edge")
    if values.size != wanted:
        raise invalid(f"tensor parsing error: {name}")
    return values.reshape(sizes)


def proto_of(array: NDArray[Any]) -> tensor_pb2.TensorProto:
    """The TensorProto of an output, with the values in the field of their type, as TF Serving sends them."""
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


def _whole(proto: tensor_pb2.TensorProto, dtype: Any) -> bool:
    return len(proto.tensor_content) % np.dtype(dtype).itemsize == 0


def filled(name: str, values: Sequence[Any], dtype: Any) -> NDArray[Any]:
    """An array of values that were sent for an input; small integers come as larger ones.

    Raises:
        Refusal: the type cannot hold one of them.
    """
    array = np.empty(len(values), dtype)
    if array.dtype.kind in "iu" and len(values):
        limits = np.iinfo(array.dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise invalid(f"tensor parsing error: {name} has a value beyond {array.dtype.name}")
    with np.errstate(over="ignore"):  # a double that no float holds is infinite
        array[:] = values
    return array
