"""Measures what training costs before it learns: building, tracing and export, beside plain Keras.

    python benchmarks/fixed_costs.py                                # five backbones at 64 px: ten minutes
    python benchmarks/fixed_costs.py --backbones mobilenet --size 32
    python benchmarks/fixed_costs.py --micro-batch 2                # as on a GPU that a batch does not fit
    python benchmarks/fixed_costs.py --demo                         # `knet run --preset demo`, node by node

Each step is done once on one batch of four synthetic images, so nearly all of its time is tracing. Plain
Keras trains the same network, with its own batch normalization, with `fit` and Keras's SGD, and exports it
with `export`: one signature on pixels, where ours has five on image files. Seconds are of the processors
(user and system), on which other work has less effect than on the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "0"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from knet.models.export import export_model, model_outputs
from knet.models.hybrid import HEAD, PENULTIMATE
from knet.models.out_of_distribution import ClassGaussians, ImageLimits
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from knet.training.candidate import Candidate
from knet.training.devices import Devices, prepare_devices, start_from_seed
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config

_BACKBONES = ("mobilenet", "vgg16", "resnet50", "resnet101", "resnet152")
_BATCH = 4
_STEPS = ("build", "first fit", "evaluate", "predict", "export", "load")


def knet_steps(candidate: Candidate, devices: Devices, folder: Path) -> dict[str, Callable[[], Any]]:
    """The steps of the Trainer, each a function of no arguments."""
    size = candidate.image.size
    state: dict[str, Any] = {}
    batches = _batches(size)

    def build() -> None:
        state["model"] = candidate.build(
            devices=devices,
            pixel_statistics=([150.0] * 3, [50.0] * 3),
            learning_rate=0.001,
            momentum=0.9,
            images=_BATCH,
        )

    def export() -> None:
        units = state["model"].get_layer(HEAD).get_layer(PENULTIMATE).output.shape[-1]
        embeddings = np.random.default_rng(0).normal(size=(40, units))
        export_model(
            state["model"],
            folder,
            size=size,
            classes=candidate.classes,
            temperature=1.0,
            threshold=0.5,
            gaussians=ClassGaussians.fit(embeddings, np.arange(40) % 2),
            limits=ImageLimits(min_tissue=0.0, min_sharpness=0.0, max_sharpness=1e9, max_distance=1e9),
        )

    return {
        "build": build,
        "first fit": lambda: state["model"].fit(batches, verbose=0),
        "evaluate": lambda: state["model"].evaluate(batches, verbose=0),
        "predict": lambda: model_outputs(state["model"], {"validation": batches}),
        "export": export,
        "load": lambda: tf.saved_model.load(str(folder)),
    }


def keras_steps(candidate: Candidate, folder: Path) -> dict[str, Callable[[], Any]]:
    """The same steps by Keras's own means."""
    state: dict[str, Any] = {}
    batches = _batches(candidate.image.size)
    hybrid = candidate.model(pixel_statistics=([150.0] * 3, [50.0] * 3))
    network = keras.Model(hybrid.input, hybrid.output)

    def build() -> None:
        state["model"] = keras.models.clone_model(network, clone_function=_plain_layer, recursive=True)
        state["model"].compile(
            keras.optimizers.SGD(0.001, momentum=0.9),
            "sparse_categorical_crossentropy",
            weighted_metrics=["accuracy"],
            jit_compile=False,
        )

    return {
        "build": build,
        "first fit": lambda: state["model"].fit(batches, verbose=0),
        "evaluate": lambda: state["model"].evaluate(batches, verbose=0),
        "predict": lambda: state["model"].predict(batches, verbose=0),
        "export": lambda: state["model"].export(str(folder), verbose=False),
        "load": lambda: tf.saved_model.load(str(folder)),
    }


def _plain_layer(layer: keras.Layer) -> keras.Layer:
    kind = layers.BatchNormalization if isinstance(layer, layers.BatchNormalization) else type(layer)
    return kind.from_config(layer.get_config())


def _batches(size: int) -> tf.data.Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (_BATCH, size, size, 3)).astype("uint8")
    return tf.data.Dataset.from_tensors((pixels, np.arange(_BATCH) % 2))


def measure(steps: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """CPU seconds of each step; they are run in order, in this process."""
    seconds = {}
    for name, step in steps.items():
        start = time.process_time()
        step()
        seconds[name] = time.process_time() - start
    return seconds


def measure_demo(folder: Path) -> None:
    """Prints the seconds of the demo's nodes, of what is outside them, and of the processors."""
    start = time.monotonic()
    command = "from pipeline.commands.main import main; main()"
    subprocess.run(
        [sys.executable, "-c", command, "run", "--preset", "demo", "--set", f"output={folder}"],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    (record,) = RunRegistry(Workspace(folder).registry).runs().values()
    nodes = json.loads(record.read_text(encoding="utf-8"))["nodes"]
    for node in nodes:
        print(f"{node['node']:24}{node['seconds']:8.1f}")
    inside = sum(node["seconds"] for node in nodes)
    print(f"{'nodes':24}{inside:8.1f}\n{'outside':24}{wall - inside:8.1f} ({1 - inside / wall:.0%})")
    print(f"{'wall':24}{wall:8.1f}\n{'CPU':24}{used.ru_utime + used.ru_stime:8.1f}")


def main() -> None:
    """Prints two lines a backbone, or a line a node."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=_BACKBONES, choices=_BACKBONES)
    parser.add_argument("--size", type=int, default=64, help="pixels per side (default: 64)")
    parser.add_argument(
        "--micro-batch",
        type=int,
        help=f"images at once of the {_BATCH} (default: all); Keras takes all",
    )
    parser.add_argument("--demo", action="store_true", help="measure a run of the demo")
    arguments = parser.parse_args()
    if arguments.demo:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, seconds")
        with tempfile.TemporaryDirectory() as temporary:
            measure_demo(Path(temporary) / "demo")
        return
    every_block = ("training.fine_tune=all", "training.blocks=null")
    batch = (f"training.batch_size={_BATCH}", f"training.micro_batch={arguments.micro_batch or 'null'}")
    config = load_config("production", [f"image.size={arguments.size}", *every_block, *batch])
    devices = prepare_devices(config.devices)
    print(f"{devices.description}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, CPU seconds")
    print(f"{'':20}" + "".join(f"{name:>11}" for name in (*_STEPS, "MB")))
    for backbone in arguments.backbones:
        candidate = candidate_from_config(config, backbone, synthetic_data=True)
        random = candidate.settings.model_copy(update={"weights": "none"})
        candidate = candidate.model_copy(update={"settings": random})
        for name in ("knet", "Keras"):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / "model"
                start_from_seed(0)
                steps = (
                    knet_steps(candidate, devices, folder)
                    if name == "knet"
                    else keras_steps(candidate, folder)
                )
                seconds = measure(steps)
                megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
            values = "".join(f"{seconds[step]:11.1f}" for step in _STEPS)
            print(f"{backbone:12}{name:8}{values}{megabytes:11.0f}", flush=True)


if __name__ == "__main__":
    main()
