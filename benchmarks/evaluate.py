"""Compares the evaluation of a model with a plain script: model.predict and scikit-learn.

    python benchmarks/evaluate.py                   # 500, 2,000 and 7,909 images
    python benchmarks/evaluate.py --images 1000 --size 700x460

Both read the same TFRecords of synthetic PNG files, ask the same MobileNet (alpha 0.25, random weights), and
give the metrics of each split whole, by magnification, by subtype and by both. Ours gives TFMA's metrics,
those by patient, and the table of predictions; `select` is what ModelSelector adds for a candidate: 2,000
resamples of the patients of every slice. Each measurement is a process of its own, and TensorFlow has one
thread in each. Importing the libraries in the first process does not count; the start of Beam's workers does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from draw_images import draw_images
from measure import Workers, executor_context, measure, run_measured

from knet.base import node_ids

_DISTINCT = 50  # images that are drawn
_PATIENTS = 40  # of each split
_SLICES = ("magnification", "subtype")
_MAGNIFICATIONS = ("40X", "100X", "200X", "400X")
_SUBTYPES = ("adenosis", "ductal_carcinoma", "fibroadenoma", "lobular_carcinoma", "tubular_adenoma",
             "mucinous_carcinoma", "phyllodes_tumor", "papillary_carcinoma")  # fmt: skip
_TEXTS = ("image/path", "patient", "split", *_SLICES)


def prepare(folder: Path, *, count: int, width: int, height: int, pixels: int) -> None:
    """Writes examples, schema and model."""
    import keras
    import tensorflow as tf
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    from knet.base import schema_names
    from knet.models.images import decode_images

    images = cycle(list(draw_images(_DISTINCT, width=width, height=height)))
    for split in ("validation", "test"):
        (folder / "examples" / f"Split-{split}").mkdir(parents=True)
        for part in range(2):
            file = folder / "examples" / f"Split-{split}" / f"{part}.gz"
            options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
            with tf.io.TFRecordWriter(str(file), options) as writer:
                numbers = range(part, count // 2, 2)
                for number, image in zip(numbers, islice(images, len(numbers)), strict=True):
                    writer.write(_example(number, split, image).SerializeToString())
    schema = schema_pb2.Schema()
    one = schema_pb2.FixedShape(dim=[schema_pb2.FixedShape.Dim(size=1)])
    always = schema_pb2.FeaturePresence(min_fraction=1, min_count=1)
    for name in (schema_names.IMAGE, *_TEXTS):
        schema.feature.add(name=name, type=schema_pb2.BYTES, shape=one, presence=always)
    schema.feature.add(name=schema_names.LABEL, type=schema_pb2.INT, shape=one, presence=always)
    (folder / "schema").mkdir()
    (folder / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(schema), encoding="utf-8")

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNet((pixels, pixels, 3), alpha=0.25, weights=None, classes=2)
    model.save(folder / "model.keras")

    def answer(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, {schema_names.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        decoded = tf.cast(decode_images(parsed[schema_names.IMAGE], size=pixels), tf.float32)
        probabilities = model(decoded, training=False)
        return {
            schema_names.SCORE: probabilities[:, 1],
            schema_names.IN_DISTRIBUTION: probabilities[:, 1] >= 0,
            schema_names.DISTANCE: probabilities[:, 0],
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        schema_names.EXAMPLES_SIGNATURE, answer, [tf.TensorSpec([None], tf.string, name="examples")]
    )
    served = folder / "model" / "Format-Serving"
    archive.write_out(str(served), verbose=False)
    (served / "assets.extra").mkdir()
    (served / "assets.extra" / "knet.json").write_text(
        '{"classes": ["benign", "malignant"], "calibration": {"threshold": 0.5}}', encoding="utf-8"
    )


def _example(number: int, split: str, image: bytes) -> Any:
    import tensorflow as tf

    from knet.base import schema_names

    patient = number % _PATIENTS
    example = tf.train.Example()
    texts = (
        f"{split}/{number}.png",
        f"{split}-{patient}",
        split,
        _MAGNIFICATIONS[number // _PATIENTS % 4],
        _SUBTYPES[patient % 8],
    )
    for name, text in zip(_TEXTS, texts, strict=True):
        example.features.feature[name].bytes_list.value.append(text.encode())
    example.features.feature[schema_names.IMAGE].bytes_list.value.append(image)
    example.features.feature[schema_names.LABEL].int64_list.value.append(patient % 2)
    return example


def plain(folder: Path, _: Path) -> None:
    """tf.data, model.predict, and scikit-learn on every slice."""
    import keras
    import numpy as np
    import pandas as pd
    import tensorflow as tf
    from sklearn import metrics

    from knet.base import schema_names
    from knet.evaluation.results import slice_combinations
    from knet.models.images import decode_images

    model = keras.saving.load_model(folder / "model.keras", compile=False)
    size = model.input_shape[1]
    described = {name: tf.io.FixedLenFeature([], tf.string) for name in (schema_names.IMAGE, *_TEXTS)}
    described[schema_names.LABEL] = tf.io.FixedLenFeature([], tf.int64)
    rows = []

    def batches(files: list[str]) -> Any:
        records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(32)
        return records.map(lambda batch: tf.io.parse_example(batch, described)).prefetch(1)

    files = [str(path) for path in sorted((folder / "examples").glob("Split-*/*"))]
    pixels = batches(files).map(
        lambda parsed: tf.cast(decode_images(parsed[schema_names.IMAGE], size=size), tf.float32)
    )
    scores = model.predict(pixels, verbose=0)[:, 1]
    for parsed in batches(files).map(
        lambda parsed: {k: v for k, v in parsed.items() if k != schema_names.IMAGE}
    ):
        rows.append(pd.DataFrame({name: value.numpy() for name, value in parsed.items()}))
    frame = pd.concat(rows).assign(score=scores)
    for columns in slice_combinations(_SLICES):
        for _, part in frame.groupby([schema_names.SPLIT, *columns]):
            labels, of_slice = part[schema_names.LABEL], part["score"]
            decided = of_slice >= 0.5
            metrics.confusion_matrix(labels, decided, labels=[0, 1])
            metrics.classification_report(labels, decided, zero_division=0)
            metrics.brier_score_loss(labels, of_slice, pos_label=1)
            if labels.nunique() == 2:
                metrics.balanced_accuracy_score(labels, decided)
                metrics.roc_auc_score(labels, of_slice)
                metrics.average_precision_score(labels, of_slice)
            np.histogram(of_slice, bins=10, range=(0, 1))


def ours(folder: Path, out: Path, *, workers: Workers) -> None:
    """Runs the evaluator's executor."""
    import json

    from tfx.types import artifact_utils, standard_artifacts

    from components.knet_evaluator.executor import Executor

    inputs = {
        "model": standard_artifacts.Model(),
        "examples": standard_artifacts.Examples(),
        "schema": standard_artifacts.Schema(),
    }
    for name, artifact in inputs.items():
        artifact.uri = str(folder / name)
    inputs["examples"].split_names = artifact_utils.encode_split_names(["validation", "test"])
    evaluation = standard_artifacts.ModelEvaluation()
    evaluation.uri = str(out / "evaluation")
    Executor(executor_context(out, workers=workers, node=node_ids.EVALUATOR)).Do(
        {name: [artifact] for name, artifact in inputs.items()},
        {"evaluation": [evaluation]},
        {"candidate": "mobilenet", "slices": json.dumps(_SLICES)},
    )


def select(folder: Path, _: Path) -> None:
    """The intervals of every slice, from the predictions that ours left."""
    from knet.evaluation.bootstrap import RESAMPLES
    from knet.evaluation.predictions import FOLDER, read_predictions
    from knet.evaluation.results import candidate_results

    frame = read_predictions(folder / _folder_of("ours, 1 process") / "evaluation" / FOLDER)
    candidate_results(frame, classes=("benign", "malignant"), slices=_SLICES, resamples=RESAMPLES, seed=0)


JOBS: dict[str, Callable[[Path, Path], None]] = {
    "plain": plain,
    "ours, 1 process": lambda folder, out: ours(folder, out, workers=1),
    "ours, 2 processes": lambda folder, out: ours(folder, out, workers=2),
    "select": select,
}


def _folder_of(job: str) -> str:
    return job.replace(" ", "-")


def run_job(name: str, folder: Path, out: Path) -> None:
    """Runs one job in this process."""
    import sklearn.metrics  # noqa: F401 (importing is not to be measured)

    from components.knet_evaluator import executor  # noqa: F401 (as above)

    run_measured(lambda: JOBS[name](folder, out))


def main() -> None:
    """Prints a line a job and number of images."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[500, 2000, 7909])
    parser.add_argument("--size", default="350x230", help="width x height of an image; BreaKHis has 700x460")
    parser.add_argument("--pixels", type=int, default=96, help="per side, as the model takes them")
    parser.add_argument("--only", nargs="+", default=list(JOBS), choices=JOBS)
    parser.add_argument("--job", nargs=3, metavar=("NAME", "FOLDER", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_job(arguments.job[0], Path(arguments.job[1]), Path(arguments.job[2]))
        return
    width, height = map(int, arguments.size.split("x"))
    print(
        f"synthetic images of {width}x{height} pixels, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the start"
    )
    print(f"{'':18} {'images':>7} {'seconds':>8} {'images/s':>9} {'per core':>9} {'peak MiB':>9}")
    for count in arguments.images:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            prepare(folder, count=count, width=width, height=height, pixels=arguments.pixels)
            for name in arguments.only:
                out = folder / _folder_of(name)
                out.mkdir()
                measured = measure(__file__, ["--job", name, str(folder), str(out)])
                print(
                    f"{name:18} {count:7} {measured.seconds:8.1f} {count / measured.seconds:9.1f} "
                    f"{count / measured.cpu_seconds:9.1f} {measured.peak_mib:9.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
