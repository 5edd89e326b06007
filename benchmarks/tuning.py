"""Measures a search of 20 trials: through our component, and by a plain KerasTuner script without a cache.

    python benchmarks/tuning.py                # ResNet50 at 96 px: head alone, and two blocks
    python benchmarks/tuning.py --blocks 0     # one of them

Both train the same values, proposed by the same random method, for as many epochs on the same images, and
evaluate them on the same held-out patients. The plain script builds the whole model in every trial, feeds
it images, and keeps the best weights of each trial, as KerasTuner's Tuner does. Images are synthetic, weights
random. The time of our search includes that for its feature maps; memory is the resident set of its process.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from train import write_split, write_weights

from knet.data.grouping import held_out_masks
from knet.training.dataset import TransformedSplit
from knet.training.devices import prepare_devices
from knet.training.trainer import fit_arguments
from knet.training.training_setup import TrainingSetup
from knet.tuning.folds import FoldEvaluation
from knet.tuning.oracles import make_oracle
from knet.tuning.plan import SearchPlan
from knet.tuning.search import TrialTuner
from knet.tuning.trials import trials_table
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config

os.environ["TF_USE_LEGACY_KERAS"] = "0"

_BACKBONE = "resnet50"


def resident_bytes() -> int:
    """The resident set of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


class MeasuredTuner(TrialTuner):
    """Notes the memory after each trial."""

    def __init__(self, plan: SearchPlan, folder: Path) -> None:
        super().__init__(plan, folder)
        self.memory: list[int] = []

    def on_trial_end(self, trial: Any) -> None:
        """Looks at it."""
        super().on_trial_end(trial)
        self.memory.append(resident_bytes())


def make_plan(folder: Path, arguments: argparse.Namespace, *, blocks: int) -> SearchPlan:
    """The search, on the images of the folder."""
    config = load_config(
        "production",
        [
            f"candidates={{{_BACKBONE}: {{weights: {folder / 'resnet50.weights.h5'}}}}}",
            f"image={{size: {arguments.size}, normalisation: backbone}}",
            f"training.batch_size={arguments.batch}",
            f"training.blocks={blocks}",
            f"tuning={{backbone: {_BACKBONE}, method: random, folds: 1, trials: {arguments.trials}, "
            f"epochs: {arguments.epochs}, early_stopping_patience: {arguments.epochs}}}",
        ],
    )
    assert config.tuning is not None
    return SearchPlan(
        candidate=candidate_from_config(config, _BACKBONE, synthetic_data=True),
        tuning=config.tuning,
        evaluation=f"{FoldEvaluation.__module__}:{FoldEvaluation.__name__}",
        arguments={
            "train_files": [str(folder / "train" / "*")],
            "cache_root": str(folder / f"maps-{blocks}"),
        },
    )


def ours(plan: SearchPlan, folder: Path) -> tuple[float, list[int], list[float]]:
    """Seconds, memory after each trial, and the learning rates."""
    start = time.monotonic()
    tuner = MeasuredTuner(plan, folder)
    tuner.search()
    trials = trials_table(tuner.oracle, plan)
    seconds = time.monotonic() - start
    if not trials["val_loss"].notna().all():
        raise SystemExit(f"a trial failed: {trials['error'].tolist()}")
    return seconds, tuner.memory, trials["learning_rate"].tolist()


def plain_search(plan: SearchPlan, folder: Path) -> tuple[float, list[float]]:
    """Seconds and learning rates of the search as one would write it."""
    start = time.monotonic()
    training = plan.candidate.training.model_copy(
        update={"feature_cache": False, "epochs": plan.tuning.epochs}
    )
    candidate = plan.candidate.model_copy(update={"training": training})
    devices = prepare_devices(candidate.devices)
    files, size = plan.arguments["train_files"], candidate.image.size
    train = TransformedSplit(files, size=size, offline_augmentations=training.augmentation)
    plain = TransformedSplit(files, size=size)
    labels, patients = plain.labels_and_patients()
    (held,) = held_out_masks(
        patients, labels.tolist(), classes=candidate.classes, folds=1, seed=candidate.seed
    )
    setup = TrainingSetup(
        candidate,
        devices=devices,
        train=train.subset(~held, labels=labels),
        validation=plain.subset(held, labels=labels),
        cache_root=folder,
    )

    def build(trial: keras_tuner.HyperParameters) -> keras.Model:
        model, _ = setup.build(learning_rate=trial.get("learning_rate"), momentum=trial.get("momentum"))
        return model

    oracle = make_oracle(plan.tuning, candidate)
    tuner = keras_tuner.Tuner(oracle, build, directory=str(folder), project_name="plain")
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=plan.tuning.epochs, restore_best_weights=True
    )
    tuner.search(**fit_arguments(candidate, setup.train, setup.validation, replicas=1), callbacks=[stopping])
    rates = [oracle.trials[name].hyperparameters.get("learning_rate") for name in sorted(oracle.trials)]
    return time.monotonic() - start, rates


def main() -> None:
    """Prints two lines a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, nargs="+", default=[0, 2], help="that learn; 0: the head alone")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=3, help="of a trial")
    parser.add_argument("--size", type=int, default=96, help="pixels per side")
    parser.add_argument("--images", type=int, default=32, help="of 8 patients; each has three copies")
    parser.add_argument("--batch", type=int, default=32, help="images of an update")
    arguments = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; {_BACKBONE}, "
        f"{arguments.trials} trials of {arguments.epochs} epochs, {arguments.images} images of "
        f"{arguments.size} px",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_split(folder / "train", count=arguments.images, size=arguments.size)
        write_weights(_BACKBONE, folder / "resnet50.weights.h5")
        for blocks in arguments.blocks:
            plan = make_plan(folder, arguments, blocks=blocks)
            seconds, memory, rates = ours(plan, folder / f"search-{blocks}")
            grown = memory[-1] / memory[1] - 1
            print(
                f"{blocks} trainable blocks, ours: {seconds:6.1f} s; memory {memory[1] / 2**20:.0f} MiB "
                f"after trial 2, {memory[-1] / 2**20:.0f} MiB after trial {len(memory)}: "
                f"{100 * grown:+.1f} %",
                flush=True,
            )
            plain, same = plain_search(plan, folder / f"plain-{blocks}")
            if not all(math.isclose(a, b) for a, b in zip(rates, same, strict=True)):
                raise SystemExit("the two searches did not train the same values")
            print(
                f"{blocks} trainable blocks, plain script: {plain:6.1f} s; ours is {plain / seconds:.1f} "
                f"times as fast; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
