"""Prepares the devices that a model is trained on."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from knet.training.settings import DevicesConfig

_TENSOR_CORES = (7, 0)  # the compute capability from which matrix products in float16 are much faster
_BFLOAT16 = (8, 0)  # the same in bfloat16, which needs no loss scaling


@dataclass(frozen=True)
class Devices:
    """What training runs on, and how it computes there."""

    strategy: Any
    precision: str  # a dtype policy of Keras
    xla: bool
    description: str

    @property
    def replicas(self) -> int:
        """How many devices share a batch."""
        return self.strategy.num_replicas_in_sync

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Models that are built within are trained here."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.precision)
        try:
            with self.strategy.scope():
                yield
        finally:
            keras.config.set_dtype_policy(before)


def prepare_devices(settings: DevicesConfig) -> Devices:
    """Takes all visible GPUs, mirrored where there are several, else the CPU.

    GPUs get memory as it is needed. Operations are deterministic on a CPU, and on GPUs on request.
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
    """One for the whole process: the collective operations of a second would meet the keys of the first."""
    return tf.distribute.MirroredStrategy()


def _precision(wanted: str, capability: tuple[int, int]) -> str:
    if wanted != "auto":
        return wanted
    if capability >= _BFLOAT16:
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= _TENSOR_CORES else "float32"


def _xla(settings: DevicesConfig, capability: tuple[int, int], *, gpus: int) -> bool:
    """Whether the step is compiled: replicas cannot meet inside it, and it is not deterministic."""
    if settings.xla != "auto":
        return settings.xla
    return gpus == 1 and capability >= _TENSOR_CORES and not settings.deterministic


def start_from_seed(seed: int) -> None:
    """The same records and settings then give the same weights on the same machine."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
