"""Tests of converting TensorProtos to arrays and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_pb2

from knet.serving.dev_server.errors import StatusError
from knet.serving.dev_server.tensors import array_of, proto_of

_TYPES = st.sampled_from(
    ["float32", "float64", "int8", "uint8", "int16", "int32", "int64", "uint32", "uint64", "bool"]
)
ARRAYS = st_numpy.arrays(_TYPES, st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


@given(ARRAYS)
def test_array_of_round_trip(array: NDArray[Any]) -> None:
    for proto in (proto_of(array), tf.make_tensor_proto(array)):
        converted = array_of("x", proto)
        assert converted.dtype == array.dtype
        np.testing.assert_array_equal(converted, array)
    np.testing.assert_array_equal(tf.make_ndarray(proto_of(array)), array)


@given(st.lists(st.binary(max_size=8), max_size=5))
def test_array_of_bytes_round_trip(values: list[bytes]) -> None:
    array = array_of("x", tf.make_tensor_proto(values, tf.string, [len(values)]))
    assert array.tolist() == values  # those that end with zeros too
    assert list(proto_of(array).string_val) == values


def test_array_of_repeats_the_last_value() -> None:
    proto = tensor_pb2.TensorProto(dtype="DT_FLOAT", float_val=[1, 2], tensor_shape={"dim": [{"size": 4}]})
    assert array_of("x", proto).tolist() == [1, 2, 2, 2]


@pytest.mark.parametrize(
    "proto",
    [
        {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": 2**40}]}, "float_val": [1]},
        {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": 2**20}] * 4}, "string_val": [b"a"]},
        {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": -1}]}, "float_val": [1]},
        {"dtype": "DT_FLOAT", "tensor_shape": {"unknown_rank": True}, "float_val": [1]},
        {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": 1}]}, "tensor_content": b"123"},
        {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": 1}]}, "float_val": [1, 2]},
        {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": 1}] * 1000}, "float_val": [1]},
        {"dtype": "DT_UINT8", "tensor_shape": {"dim": [{"size": 1}]}, "int_val": [256]},
        {"dtype": "DT_RESOURCE", "tensor_shape": {}},
        {"dtype": 9999},
        {},
    ],
)
def test_array_of_invalid_tensor_is_refused(proto: dict[str, Any]) -> None:
    with pytest.raises(StatusError, match="tensor parsing error: x"):
        array_of("x", tensor_pb2.TensorProto(**proto))
