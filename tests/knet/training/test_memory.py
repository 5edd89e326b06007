"""Exhausted memory names the setting to lower, wherever it happens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from knet.base.errors import UserError
from knet.training.memory import is_out_of_memory, memory_errors


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (tf.errors.ResourceExhaustedError(None, None, "failed to allocate"), True),
        (tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes."), True),
        (tf.errors.ResourceExhaustedError(None, None, "x.tmp; No space left on device"), False),
        (tf.errors.InvalidArgumentError(None, None, "incompatible shapes"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_is_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize(
    ("micro_batch", "replicas", "remedy"),
    [
        (20, 1, "with 20 images of 227 px .*set training.micro_batch=10 or less"),
        (None, 4, "with 25 images of 227 px .*set training.micro_batch=12 or less"),
        (1, 1, "with 1 images of 227 px at once .*training.micro_batch.*; lower image.size"),
    ],
)
def test_memory_errors_name_the_remedy(micro_batch: int | None, replicas: int, remedy: str) -> None:
    candidate: Any = SimpleNamespace(
        name="vgg16",
        image=SimpleNamespace(size=227),
        training=SimpleNamespace(micro_batch=micro_batch, batch_size=100),
    )
    devices: Any = SimpleNamespace(description="1 x CPU", replicas=replicas)
    with (
        pytest.raises(UserError, match=f"^training vgg16: 1 x CPU ran out of memory {remedy}"),
        memory_errors(candidate, devices, task="training"),
    ):
        raise MemoryError


def test_memory_errors_pass_other_errors_on() -> None:
    unused: Any = None
    with pytest.raises(ZeroDivisionError), memory_errors(unused, unused, task="training"):
        raise ZeroDivisionError
