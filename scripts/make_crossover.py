"""Leaves a run and its model's answers in a folder, for the other stack to read: make_crossover.py FOLDER."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import tensorflow as tf

from knet.base import schema_names
from knet.serving.models_config import newest_version

# One tiny candidate: the stacks differ in how models are written and read, not in how they are trained.
SETTINGS = (
    "image.size=32",
    "data.sample.patients=12",
    "data.split.test_share=0.25",
    "candidates={mobilenet: {alpha: 0.25, weights: none}}",
    "training.epochs=1",
    "tuning=null",
)


def knet_run(output: Path) -> subprocess.CompletedProcess[str]:
    """Runs the pipeline on synthetic images into a folder, in a process of its own."""
    command = [sys.executable, "-c", "from pipeline.commands.main import main; main()", "run"]
    for setting in (f"output={output}", *SETTINGS):
        command += ["--set", setting]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def held_out_images(output: Path) -> list[bytes]:
    """The test split's images of a run, in the order of their files' names."""
    (folder,) = (output / "artifacts").glob("BreakHisExampleGen/examples/*/Split-test")
    records = tf.data.TFRecordDataset([str(f) for f in sorted(folder.iterdir())], compression_type="GZIP")
    examples = (tf.train.Example.FromString(record) for record in records.as_numpy_iterator())
    return [example.features.feature[schema_names.IMAGE].bytes_list.value[0] for example in examples]


def probabilities(model: Path, images: list[bytes]) -> list[list[float]]:
    """What a SavedModel says of images, loaded by this stack."""
    answer = tf.saved_model.load(str(model)).signatures[schema_names.SERVING_SIGNATURE]
    return (
        answer(**{schema_names.SERVING_INPUT: tf.constant(images)})[schema_names.PROBABILITIES]
        .numpy()
        .tolist()
    )


def main() -> None:
    """Runs, and writes `answers.json`."""
    folder = Path(sys.argv[1]).resolve()
    done = knet_run(folder / "out")
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    model = newest_version(folder / "out" / "serving" / schema_names.MODEL_NAME)
    assert model is not None
    answers = {
        "tensorflow": tf.__version__,
        "version": model.name,
        "probabilities": probabilities(model, held_out_images(folder / "out")),
    }
    (folder / "answers.json").write_text(json.dumps(answers, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
