"""Devices, precision and XLA follow hardware and configuration; two replicas equal one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from knet.training import devices
from knet.training.devices import Devices, prepare_devices, start_from_seed
from knet.training.settings import DevicesConfig

_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that simulates GPUs of some compute capabilities, and records requests."""

    def pretend(*capabilities: tuple[int, int]) -> dict[str, Any]:
        devices._mirrored.cache_clear()
        asked: dict[str, Any] = {"growing": [], "deterministic": False}
        experimental = tf.config.experimental
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(range(len(capabilities))))
        monkeypatch.setattr(
            experimental,
            "get_device_details",
            lambda gpu: {"device_name": "Card", "compute_capability": capabilities[gpu]},
        )
        monkeypatch.setattr(experimental, "set_memory_growth", lambda gpu, on: asked["growing"].append(gpu))
        monkeypatch.setattr(experimental, "enable_op_determinism", lambda: asked.update(deterministic=True))
        monkeypatch.setattr(
            tf.distribute, "MirroredStrategy", lambda: asked.update(mirrored=object()) or asked["mirrored"]
        )
        return asked

    yield pretend
    devices._mirrored.cache_clear()


@pytest.mark.parametrize(
    ("capabilities", "precision", "xla", "description"),
    [
        ((), "float32", False, "1 x CPU"),
        (((6, 1),), "float32", False, "1 x Card"),
        (((7, 5),), "mixed_float16", True, "1 x Card"),
        (((9, 0),), "mixed_bfloat16", True, "1 x Card"),
        (((9, 0), (7, 5)), "mixed_float16", False, "2 x Card"),
    ],
)
def test_prepare_devices_selects_by_hardware(
    capabilities: tuple[tuple[int, int], ...],
    precision: str,
    xla: bool,
    description: str,
    gpus: Callable[..., dict[str, Any]],
) -> None:
    asked = gpus(*capabilities)
    devices = prepare_devices(DevicesConfig())
    assert (devices.precision, devices.xla, devices.description) == (precision, xla, description)
    assert asked["growing"] == list(range(len(capabilities)))
    assert asked["deterministic"] == (not capabilities)
    assert (devices.strategy is asked.get("mirrored")) == (len(capabilities) > 1)
    assert prepare_devices(DevicesConfig()).strategy is devices.strategy


def test_prepare_devices_obeys_the_configuration(gpus: Callable[..., dict[str, Any]]) -> None:
    asked = gpus((9, 0))
    devices = prepare_devices(DevicesConfig(precision="float32", xla=False, deterministic=True))
    assert (devices.precision, devices.xla, asked["deterministic"]) == ("float32", False, True)
    assert not prepare_devices(DevicesConfig(deterministic=True)).xla
    gpus()
    assert prepare_devices(DevicesConfig(xla=True)).xla


def test_devices_scope_sets_the_precision() -> None:
    devices = Devices(
        strategy=tf.distribute.get_strategy(), precision="mixed_bfloat16", xla=False, description=""
    )
    with devices.scope():
        within = keras.layers.Dense(1)
    assert (within.dtype_policy.name, keras.layers.Dense(1).dtype_policy.name) == (
        "mixed_bfloat16",
        "float32",
    )


@pytest.mark.slow
def test_two_replicas_train_like_one(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    command = [sys.executable, str(_ROOT / "tests" / "support" / "train_on_replicas.py"), str(output)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-4000:]
    for name, found in json.loads(output.read_text("utf-8")).items():
        assert found["apart"] < 1e-6, (name, found)
        for one, two in (found["losses"], found["accuracies"]):
            np.testing.assert_allclose(one, two, rtol=1e-5)
        first, last = found["losses"][0]
        assert first != last


@pytest.mark.slow
def test_start_from_seed_resets_names_and_weights() -> None:
    built = []
    for seed in (0, 0, 1):
        start_from_seed(seed)
        layer = keras.layers.Dense(3)
        layer.build((None, 2))
        built.append((layer.name, np.asarray(layer.kernel)))
    assert {name for name, _ in built} == {"dense"}
    np.testing.assert_array_equal(built[0][1], built[1][1])
    assert not np.array_equal(built[0][1], built[2][1])


def test_settings_of_the_users_keras_have_no_effect(tmp_path: Path) -> None:
    settings = {"backend": "jax", "image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    environment = {
        **{"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "1"},
        **{"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"},
        **{"TF_ENABLE_ONEDNN_OPTS": "0", "TF_XLA_FLAGS": "--tf_xla_auto_jit=2"},
    }
    program = (
        "import os; from knet.base.environment import set_environment; set_environment()\n"
        "import keras; from knet.training.devices import start_from_seed; start_from_seed(0)\n"
        "output = keras.layers.Conv2D(4, 3)(keras.Input((8, 8, 3)))\n"
        "left = [name for name in os.environ if name.startswith(('KERAS_MAX_', 'TF_E', 'TF_X'))]\n"
        "print(keras.backend.backend(), output.shape, output.dtype, keras.backend.epsilon(), left)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[-2] == "tensorflow (None, 6, 6, 4) float32 1e-07 []"
