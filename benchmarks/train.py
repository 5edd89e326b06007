"""Measures training: on cached feature maps against images, and the Trainer's loop against its bare step.

    python benchmarks/train.py   # ResNet50 and ResNet152 at 227 px
    python benchmarks/train.py --size 64 --images 24 --backbones mobilenet   # a minute

Images are synthetic, weights random, with the statistics of batch normalisation taken from a batch. Epochs
hold three copies of each image, and include the validation of a quarter as many images. The first epoch of
each measurement, in which the step is traced, does not count; of the others the fastest does, as other work
on the machine only slows them down.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from knet.base import schema_names
from knet.models.backbones import BACKBONES
from knet.models.callbacks import TrainingProgress
from knet.training.candidate import Candidate
from knet.training.dataset import TransformedSplit
from knet.training.devices import Devices, prepare_devices, start_from_seed
from knet.training.trainer import fit_arguments
from knet.training.training_setup import TrainingSetup
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config

os.environ["TF_USE_LEGACY_KERAS"] = "0"

_FILES = 4
_PATIENTS = 8  # every second is malignant
_CALIBRATION = (8, 96)  # images, pixels per side


class EpochSeconds(keras.callbacks.Callback):
    """Takes the time of every epoch, and of its steps alone."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[float] = []
        self.steps: list[float] = []  # from the end of the first to the end of the last
        self._begun = self._first = self._last = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._begun = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at it."""
        self._last = time.monotonic()
        if batch == 0:
            self._first = self._last

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops it."""
        self.epochs.append(time.monotonic() - self._begun)
        self.steps.append(self._last - self._first)


def write_split(folder: Path, *, count: int, size: int) -> str:
    """Writes images as Transform does; they pack about as well as micrographs."""
    folder.mkdir()
    rng = np.random.default_rng(count)
    for number in range(_FILES):
        with tf.io.TFRecordWriter(str(folder / f"images-{number}.gz"), "GZIP") as writer:
            for place in range(number, count, _FILES):
                coarse = rng.uniform(60, 250, (size // 12 + 1, size // 12 + 1, 3))
                smooth = tf.image.resize(coarse, [size, size], "bicubic").numpy()
                pixels = np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)
                example = tf.train.Example()
                feature = example.features.feature
                feature[schema_names.PIXELS].bytes_list.value.append(tf.io.serialize_tensor(pixels).numpy())
                feature[schema_names.LABEL].int64_list.value.append(place % 2)
                feature[schema_names.PATIENT].bytes_list.value.append(str(place % _PATIENTS).encode())
                for name, value in ((schema_names.PIXEL_MEAN, 150.0), (schema_names.PIXEL_STD, 50.0)):
                    feature[name].float_list.value.extend([value] * 3)
                writer.write(example.SerializeToString())
    return str(folder / "*")


def write_weights(backbone: str, file: Path) -> None:
    """Writes random weights with which feature maps are as large as those of a trained backbone."""
    keras.utils.set_random_seed(0)
    count, size = _CALIBRATION
    body = BACKBONES[backbone].build(include_top=False, weights=None, input_shape=(size, size, 3))
    normalisations = [layer for layer in body.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalisations:
        layer.momentum = 0.0
    pixels = np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")
    body(BACKBONES[backbone].scale(pixels), training=True)
    body.save_weights(file)


class Bench:
    """One backbone on one set of images."""

    def __init__(self, backbone: str, folder: Path, arguments: argparse.Namespace, devices: Devices) -> None:
        """Writes what is needed."""
        self._backbone, self._folder, self._arguments, self._devices = backbone, folder, arguments, devices
        self._weights = folder / f"{backbone}.weights.h5"
        write_weights(backbone, self._weights)

    def epoch_seconds(self, *, blocks: int, cached: bool) -> tuple[float, float]:
        """Seconds of an epoch, and those until the feature maps were there."""
        start = time.monotonic()
        candidate, setup = self._setup(
            "training.fine_tune=blocks", f"training.blocks={blocks}", f"training.feature_cache={cached}"
        )
        prepared = time.monotonic() - start
        seconds = EpochSeconds()
        self._fit(candidate, setup, seconds)
        return min(seconds.epochs[1:]), prepared

    def loop_and_step(self) -> tuple[float, float]:
        """Images a second of the Trainer's loop, and of its step on one batch in memory; all blocks learn."""
        batch = self._arguments.batch
        candidate, setup = self._setup("training.fine_tune=all")
        seconds = EpochSeconds()
        model = self._fit(candidate, setup, seconds)
        steps = setup.train.count * setup.train.view_count // batch
        first = next(iter(setup.train.training_batches(batch_size=batch, seed=0, epochs=range(1))))
        iterator = iter(tf.data.Dataset.from_tensors(first).repeat())
        alone = min(_timed_steps(model, iterator, steps - 1) for _ in seconds.steps[1:])
        images = (steps - 1) * batch
        return images / min(seconds.steps[1:]), images / alone

    def _setup(self, *overrides: str) -> tuple[Candidate, TrainingSetup]:
        arguments = self._arguments
        config = load_config(
            "paper",
            [
                f"candidates={{{self._backbone}: {{weights: {self._weights}}}}}",
                f"image={{size: {arguments.size}, normalisation: backbone}}",
                f"training.batch_size={arguments.batch}",
                f"training.micro_batch={arguments.micro_batch or 'null'}",
                f"training.epochs={arguments.epochs + 1}",
                *overrides,
            ],
        )
        candidate = candidate_from_config(config, self._backbone, synthetic_data=True)
        start_from_seed(0)
        setup = TrainingSetup(
            candidate,
            devices=self._devices,
            train=TransformedSplit(
                [str(self._folder / "train" / "*")],
                size=arguments.size,
                offline_augmentations=candidate.training.augmentation,
            ),
            validation=TransformedSplit([str(self._folder / "validation" / "*")], size=arguments.size),
            cache_root=self._folder / "feature-maps",
        )
        return candidate, setup

    def _fit(self, candidate: Candidate, setup: TrainingSetup, seconds: EpochSeconds) -> Any:
        model, _ = setup.build(learning_rate=1e-5, momentum=0.9)
        model.fit(
            **fit_arguments(candidate, setup.train, setup.validation, replicas=self._devices.replicas),
            callbacks=[TrainingProgress(), seconds],
        )
        return model


def _timed_steps(model: Any, iterator: Iterator[Any], count: int) -> float:
    float(model.train_function(iterator)["loss"])
    start = time.monotonic()
    for _ in range(count):
        logs = model.train_function(iterator)
    float(logs["loss"])
    return time.monotonic() - start


def main() -> None:
    """Prints a line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "resnet152"], choices=BACKBONES)
    parser.add_argument("--blocks", type=int, nargs="+", default=[0, 2], help="that learn; 0: the head alone")
    parser.add_argument("--loop", nargs="*", default=["resnet50"], help="backbones for loop against step")
    parser.add_argument("--size", type=int, default=227, help="pixels per side")
    parser.add_argument("--images", type=int, default=32, help="for training; each has three copies")
    parser.add_argument("--batch", type=int, default=32, help="images of an update")
    parser.add_argument("--micro-batch", type=int, default=0, help="images at once; 0: the batch")
    parser.add_argument("--epochs", type=int, default=2, help="that are measured")
    arguments = parser.parse_args()
    if arguments.images * 3 < 2 * arguments.batch:
        parser.error("two batches are needed at least: give more --images or a smaller --batch")
    devices = prepare_devices(load_config("paper").devices)
    print(
        f"{devices.description}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; "
        f"{arguments.images} images of {arguments.size} px, batch {arguments.batch}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_split(folder / "train", count=arguments.images, size=arguments.size)
        write_split(folder / "validation", count=max(arguments.images // 4, _FILES), size=arguments.size)
        for backbone in arguments.backbones:
            bench = Bench(backbone, folder, arguments, devices)
            for blocks in arguments.blocks:
                images, _ = bench.epoch_seconds(blocks=blocks, cached=False)
                maps, prepared = bench.epoch_seconds(blocks=blocks, cached=True)
                print(
                    f"{backbone:12} {blocks} blocks learn: {images:8.2f} s an epoch on images, "
                    f"{maps:7.2f} s on feature maps ({prepared:.1f} s to make them): "
                    f"{images / maps:5.1f} times as fast; load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
        for backbone in arguments.loop:
            loop, step = Bench(backbone, folder, arguments, devices).loop_and_step()
            print(
                f"{backbone:12} loop {loop:7.2f} images/s, bare step {step:7.2f}: {loop / step:.3f} of it; "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
