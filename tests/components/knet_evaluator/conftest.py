"""A fake model that predicts the number in an image file, and examples to evaluate it on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.knet_evaluator.executor import Executor
from knet.base import schema_names
from pipeline.runners.beam import FN_API_RUNNER

THRESHOLD = 0.375  # between two scores, and a float32
_TEXTS = (schema_names.PATH, schema_names.PATIENT, schema_names.SPLIT, "slide", "magnification", "subtype")


class _FakeModel(tf.Module):
    """A fake model whose score is the number in the image file."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def answer(self, examples: Any) -> Any:
        parsed = tf.io.parse_example(examples, {schema_names.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        score = tf.strings.to_number(parsed[schema_names.IMAGE])
        return {
            schema_names.SCORE: score,
            schema_names.PROBABILITIES: tf.stack([1 - score, score], axis=1),
            schema_names.PREDICTED_LABEL: tf.where(score >= 0.5, "malignant", "benign"),
            schema_names.IN_DISTRIBUTION: score < 0.85,
            schema_names.DISTANCE: 10 * score,
        }


class _FakeClassModel(tf.Module):
    """A fake model whose probabilities are the numbers in the image file."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def answer(self, examples: Any) -> dict[str, Any]:
        """Predict serialised examples."""
        parsed = tf.io.parse_example(examples, {schema_names.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        texts = tf.strings.split(parsed[schema_names.IMAGE]).to_tensor()
        probabilities = tf.strings.to_number(texts)
        score = tf.reduce_max(probabilities, axis=1)
        return {
            schema_names.SCORE: score,
            schema_names.PROBABILITIES: probabilities,
            schema_names.IN_DISTRIBUTION: score < 0.85,
            schema_names.DISTANCE: 10 * score,
        }


def rows_of_three() -> list[dict[str, Any]]:
    """The rows with three classes; the test split has none of the third."""
    generator = np.random.default_rng(0)
    found = []
    for row in rows():
        label = (row[schema_names.LABEL] + 2 * (row["subtype"] == "fibroadenoma")) % 3
        logits = generator.normal(size=3) + 1.5 * np.eye(3)[label]
        probabilities = np.exp(logits) / np.exp(logits).sum()
        if not (row[schema_names.SPLIT] == "test" and label == 2):
            text = " ".join(map(str, probabilities))
            found.append({**row, schema_names.LABEL: label, schema_names.SCORE: text})
    return found


def rows() -> list[dict[str, Any]]:
    """Eight patients of validation and of test, the last with one image; some scores lie on bins' edges."""
    generator = np.random.default_rng(0)
    found: list[dict[str, Any]] = []
    for split in ("validation", "test"):
        for number in range(8):
            label = number % 2
            for image in range(1 if number == 7 else 6):
                score = round(float(np.clip(0.3 + 0.4 * label + generator.normal(0, 0.3), 0, 1)), 1)
                patient = f"{split}-{number}"
                found.append(
                    {
                        schema_names.PATH: f"{patient}/{image}.png",
                        schema_names.PATIENT: patient,
                        schema_names.SPLIT: split,
                        "slide": f"{patient}AB",
                        "magnification": ("40X", "100X", "200X")[image % 3],
                        "subtype": ("adenosis", "ductal_carcinoma", "fibroadenoma", "lobular_carcinoma")[
                            number % 4
                        ],
                        schema_names.LABEL: label,
                        schema_names.SCORE: score,
                    }
                )
    return found


def write_inputs(
    folder: Path, rows: list[dict[str, Any]], *, classes: Sequence[str], positive: Sequence[str] = ()
) -> dict[str, list[Any]]:
    """Model, examples and schema as artifacts."""
    made = {
        "model": standard_artifacts.Model(),
        "examples": standard_artifacts.Examples(),
        "schema": standard_artifacts.Schema(),
    }
    for name, artifact in made.items():
        artifact.uri = str(folder / name)
    parrot = _FakeModel() if len(classes) == 2 else _FakeClassModel()
    threshold = THRESHOLD if len(classes) == 2 or positive else None
    tf.saved_model.save(
        parrot,
        str(folder / "model" / "Format-Serving"),
        signatures={schema_names.EXAMPLES_SIGNATURE: parrot.answer},
    )
    account = folder / "model" / "Format-Serving" / "assets.extra" / "knet.json"
    account.parent.mkdir(exist_ok=True)
    account.write_text(
        json.dumps({"classes": classes, "positive": positive, "calibration": {"threshold": threshold}}),
        encoding="utf-8",
    )
    made["examples"].split_names = artifact_utils.encode_split_names(["validation", "test"])
    for split in ("validation", "test"):
        file = folder / "examples" / f"Split-{split}" / "images.gz"
        file.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(file), options="GZIP") as writer:
            for row in rows:
                if row[schema_names.SPLIT] == split:
                    writer.write(_example(row).SerializeToString())
    schema = schema_pb2.Schema()
    for name in (schema_names.IMAGE, *_TEXTS):
        schema.feature.add(name=name, type=schema_pb2.BYTES, shape=_shape(), presence=_present())
    schema.feature.add(name=schema_names.LABEL, type=schema_pb2.INT, shape=_shape(), presence=_present())
    (folder / "schema").mkdir()
    (folder / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(schema), encoding="utf-8")
    return {name: [artifact] for name, artifact in made.items()}


def _shape() -> schema_pb2.FixedShape:
    return schema_pb2.FixedShape(dim=[schema_pb2.FixedShape.Dim(size=1)])


def _present() -> schema_pb2.FeaturePresence:
    return schema_pb2.FeaturePresence(min_fraction=1, min_count=1)


def _example(row: dict[str, Any]) -> tf.train.Example:
    example = tf.train.Example()
    for name in _TEXTS:
        example.features.feature[name].bytes_list.value.append(row[name].encode())
    example.features.feature[schema_names.IMAGE].bytes_list.value.append(
        str(row[schema_names.SCORE]).encode()
    )
    example.features.feature[schema_names.LABEL].int64_list.value.append(row[schema_names.LABEL])
    return example


@pytest.fixture(scope="session")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs the executor on rows, and returns the folder of the evaluation."""

    def run(
        rows: list[dict[str, Any]],
        slices: Sequence[str] = ("magnification", "subtype"),
        classes: Sequence[str] = ("benign", "malignant"),
        positive: Sequence[str] = (),
    ) -> Path:
        folder = tmp_path_factory.mktemp("evaluation")
        evaluation = standard_artifacts.ModelEvaluation()
        evaluation.uri = str(folder / "evaluation")
        context = Executor.Context(
            beam_pipeline_args=[f"--runner={FN_API_RUNNER}", "--direct_running_mode=in_memory"],
            tmp_dir=str(folder / "tmp"),
        )
        Executor(context).Do(
            write_inputs(folder, rows, classes=classes, positive=positive),
            {"evaluation": [evaluation]},
            {"candidate": "parrot", "slices": json.dumps(slices)},
        )
        return folder / "evaluation"

    return run


@pytest.fixture(scope="session")
def evaluated_rows() -> list[dict[str, Any]]:
    """The rows of `evaluation`."""
    return rows()


@pytest.fixture(scope="session")
def evaluation(evaluate: Callable[..., Path], evaluated_rows: list[dict[str, Any]]) -> Path:
    """Folder of the evaluation."""
    return evaluate(evaluated_rows)


@pytest.fixture(scope="session")
def evaluated_rows_of_three() -> list[dict[str, Any]]:
    """The rows of `evaluation_of_three`."""
    return rows_of_three()


@pytest.fixture(scope="session")
def evaluation_of_three(evaluate: Callable[..., Path], evaluated_rows_of_three: list[dict[str, Any]]) -> Path:
    """Folder of an evaluation of three classes."""
    return evaluate(evaluated_rows_of_three, ("magnification",), ("fat", "stroma", "tumor"))


@pytest.fixture(scope="session")
def evaluation_with_group(
    evaluate: Callable[..., Path], evaluated_rows_of_three: list[dict[str, Any]]
) -> Path:
    """Folder of an evaluation of three classes of which two are the positive group."""
    return evaluate(evaluated_rows_of_three, ("magnification",), ("fat", "stroma", "tumor"), ("tumor", "fat"))
