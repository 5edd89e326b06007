"""Measures training against the scripts that one would write without a pipeline, in Keras and in PyTorch.

    python benchmarks/frameworks.py   # ResNet50 at 227 px, minutes
    python benchmarks/frameworks.py --size 64 --images 16 --batch 8   # a minute

All train every layer of ResNet50 with two classes by SGD with momentum, on the same PNG files of 700×460 px,
shuffled, each in a process of its own. The Keras script reads them with `image_dataset_from_directory`, the
PyTorch script with torchvision's `ImageFolder` (its ResNet50 strides in the 3×3 convolutions, which is 6 %
more work). Ours trains on what Transform makes of them, by the Trainer's setup and loop, without the
LSTM branch, which the others have not, and with it. They take turns, as the speed of a machine drifts. The
first epoch of a turn does not count; of the others the fastest does, of all turns. PyTorch is no dependency:
where it cannot be imported, it is left out and said so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

os.environ["TF_USE_LEGACY_KERAS"] = "0"

_WIDTH, _HEIGHT = 700, 460
_CLASSES = ("benign", "malignant")
_RATE, _MOMENTUM = 1e-4, 0.9


def write_images(folder: Path, *, count: int) -> None:
    """Writes synthetic images that pack about as well as micrographs, half of them of each class."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(60, 250, (40, 60, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC), dtype=int)
        pixels = np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)
        file = folder / _CLASSES[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)


def time_keras(folder: Path, arguments: argparse.Namespace) -> float:
    """Seconds of the fastest epoch of a plain Keras script."""
    import keras

    size = (arguments.size, arguments.size)
    data = keras.utils.image_dataset_from_directory(
        folder, image_size=size, batch_size=arguments.batch, shuffle=True, seed=0, verbose=False
    )
    body = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(*size, 3), pooling="avg")
    inputs = keras.Input((*size, 3))
    scaled = keras.applications.resnet50.preprocess_input(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(body(scaled)))
    optimizer = keras.optimizers.SGD(_RATE, momentum=_MOMENTUM)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return _fastest(lambda: model.fit(data, epochs=1, verbose=0), arguments.epochs)


def time_torch(folder: Path, arguments: argparse.Namespace) -> float:
    """Seconds of the fastest epoch of a plain PyTorch script."""
    import torch
    import torchvision
    from torchvision import transforms

    size = (arguments.size, arguments.size)
    scaled = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    data = torchvision.datasets.ImageFolder(
        str(folder), transforms.Compose([transforms.Resize(size), transforms.ToTensor(), scaled])
    )
    loader = torch.utils.data.DataLoader(
        data, batch_size=arguments.batch, shuffle=True, num_workers=os.cpu_count() or 1
    )
    model = torchvision.models.resnet50(weights=None, num_classes=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=_RATE, momentum=_MOMENTUM)
    loss_of = torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss_of(model(images), labels).backward()
            optimizer.step()

    return _fastest(epoch, arguments.epochs)


def time_ours(folder: Path, arguments: argparse.Namespace, *, variant: str) -> float:
    """Seconds of the fastest epoch of the Trainer's loop on transformed images, one copy of each."""
    from knet.models.callbacks import TrainingProgress
    from knet.training.dataset import TransformedSplit
    from knet.training.devices import prepare_devices
    from knet.training.trainer import fit_arguments
    from knet.training.training_setup import TrainingSetup
    from pipeline.config.candidate import candidate_from_config
    from pipeline.config.load import load_config

    config = load_config(
        "paper",
        [
            "candidates={resnet50: {weights: none}}",
            f"image={{size: {arguments.size}, normalisation: backbone}}",
            f"head.variant={variant}",
            f"training.batch_size={arguments.batch}",
            f"training.epochs={arguments.epochs + 1}",
            *("training.micro_batch=null", "training.fine_tune=all", "training.augmentation=[original]"),
        ],
    )
    candidate = candidate_from_config(config, "resnet50", synthetic_data=True)
    with tempfile.TemporaryDirectory() as temporary:
        pattern = _transform(folder, Path(temporary), size=arguments.size)
        train = TransformedSplit([pattern], size=arguments.size)
        devices = prepare_devices(candidate.devices)
        setup = TrainingSetup(
            candidate, devices=devices, train=train, validation=train, cache_root=Path(temporary)
        )
        model, _ = setup.build(learning_rate=_RATE, momentum=_MOMENTUM)
        fitted = fit_arguments(candidate, setup.train, setup.validation, replicas=devices.replicas)
        for unlike in ("validation_data", "epochs", "initial_epoch", "x"):  # the others do not validate
            fitted.pop(unlike)
        batches = (
            train.training_batches(batch_size=arguments.batch, seed=0, epochs=range(n, n + 1))
            for n in range(arguments.epochs + 1)
        )
        return _fastest(
            lambda: model.fit(next(batches), **fitted, epochs=1, callbacks=[TrainingProgress()]),
            arguments.epochs,
        )


def _transform(images: Path, folder: Path, *, size: int) -> str:
    """Writes what Transform would, and returns the pattern of its files."""
    import tensorflow as tf

    from knet.base import schema_names
    from knet.models.images import decode_images

    with tf.io.TFRecordWriter(str(folder / "images.gz"), "GZIP") as writer:
        for file in sorted(images.rglob("*.png")):
            (pixels,) = decode_images(tf.constant([file.read_bytes()]), size=size)
            example = tf.train.Example()
            feature = example.features.feature
            feature[schema_names.PIXELS].bytes_list.value.append(tf.io.serialize_tensor(pixels).numpy())
            feature[schema_names.LABEL].int64_list.value.append(_CLASSES.index(file.parent.name))
            for name, value in ((schema_names.PIXEL_MEAN, 150.0), (schema_names.PIXEL_STD, 50.0)):
                feature[name].float_list.value.extend([value] * 3)
            writer.write(example.SerializeToString())
    return str(folder / "*.gz")


def _fastest(epoch: Callable[[], Any], count: int) -> float:
    def seconds() -> Iterator[float]:
        for _ in range(count + 1):
            start = time.monotonic()
            epoch()
            yield time.monotonic() - start

    _, *counted = seconds()
    return min(counted)


KINDS: dict[str, Callable[[Path, argparse.Namespace], float]] = {
    "ours, no LSTM": lambda folder, arguments: time_ours(folder, arguments, variant="none"),
    "ours, hybrid": lambda folder, arguments: time_ours(folder, arguments, variant="parallel"),
    "plain Keras": time_keras,
    "plain PyTorch": time_torch,
}


def main() -> None:
    """Prints a line a framework."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=227, help="pixels per side")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=2, help="of a turn that are measured")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(KINDS[arguments.only](arguments.folder, arguments)))
        return
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; {arguments.images} images of "
        f"{_WIDTH}×{_HEIGHT} px, trained on at {arguments.size} px, batch {arguments.batch}"
    )
    kinds = list(KINDS)
    if not importlib.util.find_spec("torchvision"):
        kinds.remove("plain PyTorch")
        print("plain PyTorch is not measured: torch and torchvision cannot be imported")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as temporary:
        write_images(Path(temporary), count=arguments.images)
        for turn in range(arguments.turns):
            for kind in kinds:
                command = [sys.executable, __file__, *sys.argv[1:], "--only", kind, "--folder", temporary]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                seconds[kind].append(float(done.stdout.splitlines()[-1]))
                rate = arguments.images / seconds[kind][-1]
                print(
                    f"turn {turn + 1}: {kind:14} {rate:6.2f} images/s; load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
    for kind in kinds:
        print(f"{kind:14} {arguments.images / min(seconds[kind]):6.2f} images/s")


if __name__ == "__main__":
    main()
