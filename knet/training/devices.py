"""Devices to train on: distribution strategy, precision, XLA and seeds."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from knet.training.settings import DevicesConfig


@dataclass(frozen=True)
class Devices:
    """Devices of a training and how they compute."""

    strategy: Any
    precision: str  # Keras dtype policy
    xla: bool  # whether to compile the training step
    description: str  # such as 1 x CPU

    @property
    def replicas(self) -> int:
        """Devices that share a batch."""
        return self.strategy.num_replicas_in_sync

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Build models for these devices within this context."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.precision)
        try:
            with self.strategy.scope():
                yield
        finally:
            keras.config.set_dtype_policy(before)


def prepare_devices(settings: DevicesConfig) -> Devices:
    """Select all visible GPUs, mirrored if there are several, otherwise the CPU.

    GPU memory grows as needed. Operations are deterministic on a CPU, and on GPUs if configured.

    Args:
        settings: precision, XLA and determinism.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if settings.deterministic or not gpus:
        tf.config.experimental.enable_op_determinism()
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    capability = min((one.get("compute_capability", (0, 0)) for one in details), default=(0, 0))
    names = sorted({one.get("device_name", "GPU") for one in details}) or ["CPU"]
    return Devices(
        strategy=_mirrored() if len(gpus) > 1 else tf.distribute.get_strategy(),
        precision=_precision(settings.precision, capability),
        xla=_xla(settings, capability, gpus=len(gpus)),
        description=f"{max(len(gpus), 1)} x {', '.join(names)}",
    )


@functools.cache
def _mirrored() -> Any:
    """Return the process's only strategy: a second one would reuse the collective keys of the first."""
    return tf.distribute.MirroredStrategy()


_TENSOR_CORES = (7, 0)  # compute capability with fast matrix products in float16
_BFLOAT16 = (8, 0)  # compute capability with fast matrix products in bfloat16, which needs no loss scaling


def _precision(wanted: str, capability: tuple[int, int]) -> str:
    if wanted != "auto":
        return wanted
    if capability >= _BFLOAT16:
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= _TENSOR_CORES else "float32"


def _xla(settings: DevicesConfig, capability: tuple[int, int], *, gpus: int) -> bool:
    """Return whether to use XLA, in which replicas cannot synchronize and which is not deterministic."""
    if settings.xla != "auto":
        return settings.xla
    return gpus == 1 and capability >= _TENSOR_CORES and not settings.deterministic


def start_from_seed(seed: int) -> None:
    """Clear Keras's state and seed all generators, so that a training is reproducible on the same machine.

    What the user's `keras.json` sets is set back to Keras's defaults.

    Args:
        seed: of Python, NumPy and TensorFlow.
    """
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
