"""Exhausted memory of a training or search, reported with the setting that lowers the need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from knet.base.errors import UserError
from knet.training.candidate import Candidate
from knet.training.devices import Devices

# In messages of CUDA and XLA, whose errors have no class for it.
_SIGNS = ("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY", "OOM when allocating", "out of memory", "failed to allocate")
_DISK_FULL = "No space left on device"  # ResourceExhaustedError too


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error of Python, TensorFlow, CUDA or XLA says that memory is exhausted."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, tf.errors.OpError | RuntimeError) or _DISK_FULL in str(error):
        return False
    exhausted = isinstance(error, tf.errors.ResourceExhaustedError)
    return exhausted or any(sign in str(error) for sign in _SIGNS)


def memory_problem(candidate: Candidate, devices: Devices) -> str:
    """Return the problem and its remedy in one line.

    Args:
        candidate: the settings.
        devices: that were trained on.
    """
    training = candidate.training
    images = min(training.micro_batch or training.batch_size, -(-training.batch_size // devices.replicas))
    remedy = f"set training.micro_batch={images // 2} or less" if images > 1 else "lower image.size"
    return (
        f"{devices.description} ran out of memory with {images} images of {candidate.image.size} px at once "
        f"(training.micro_batch); {remedy}"
    )


@contextmanager
def memory_errors(candidate: Candidate, devices: Devices, *, task: str) -> Iterator[None]:
    """Raise a UserError for exhausted memory.

    Args:
        candidate: the settings.
        devices: that are trained on.
        task: such as `training`, the start of the message.

    Raises:
        UserError: memory is exhausted.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"{task} {candidate.name}: {memory_problem(candidate, devices)}") from error
