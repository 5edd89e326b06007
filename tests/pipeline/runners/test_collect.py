"""What a run's page needs is copied out of the artifacts."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from pipeline import features
from pipeline.evaluation.predictions import write_predictions
from pipeline.runners.collect import collect
from pipeline.runners.execution import Execution, OutputArtifact

IMAGES = {"a.png": 0.9, "b.png": 0.2, "c.png": 0.8}  # of malignant patients, with scores


@pytest.fixture
def executions(tmp_path: Path, picture: Callable[..., bytes]) -> dict[str, Execution]:
    """Of a run up to the Evaluator."""
    split = tmp_path / "examples" / "Split-test"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "data.gz"), options="GZIP") as writer:
        for name in IMAGES:
            example = tf.train.Example()
            for key, value in ((features.PATH, name), (features.PATIENT, name[0])):
                example.features.feature[key].bytes_list.value.append(value.encode())
            example.features.feature[features.LABEL].int64_list.value.append(1)
            encoded = picture(size=(700, 460))
            example.features.feature[features.IMAGE].bytes_list.value.append(encoded)
            writer.write(example.SerializeToString())
    for folder, name in (("run", "history.json"), ("trials", "trials.csv"), ("trials", "summary.json")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text("{}", encoding="utf-8")
    (tmp_path / "trials" / "tensorboard").mkdir()

    def execution(number: int, output: str, folder: str) -> Execution:
        return Execution(number, False, {output: OutputArtifact(10 * number, tmp_path / folder, {})})

    return {
        "BreakHisExampleGen": execution(1, "examples", "examples"),
        "Tuner": execution(2, "trials", "trials"),
        "Trainer-vgg16": execution(3, "model_run", "run"),
    }


def write_scores(folder: Path) -> None:
    images = pd.DataFrame({"image": list(IMAGES), "score": list(IMAGES.values()), "patient": ["a", "b", "c"]})
    frame = images.assign(candidate="vgg16", split="test", label=1, threshold=0.5)
    write_predictions(frame, folder / "predictions" / "vgg16.parquet")


def test_everything_small_is_copied(executions: dict[str, Execution], tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "run"
    write_scores(folder)
    collect(folder, executions, candidates=["vgg16"], winner="vgg16")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "training/vgg16.json",
        "tuning/Tuner/trials.csv",
        "tuning/Tuner/summary.json",
        "lineage.json",
        "predictions/vgg16.parquet",
        "thumbnails/index.json",
        "thumbnails/0.jpg",
    }


def test_images_called_wrongly_are_kept_small(executions: dict[str, Execution], tmp_path: Path) -> None:
    write_scores(tmp_path / "run")
    collect(tmp_path / "run", executions, candidates=["vgg16"], winner="vgg16")
    index = json.loads((tmp_path / "run" / "thumbnails" / "index.json").read_text("utf-8"))
    assert index == {"b.png": "0.jpg"}
    content = (tmp_path / "run" / "thumbnails" / "0.jpg").read_bytes()
    assert max(Image.open(io.BytesIO(content)).size) == 240


def test_artifacts_are_named_with_their_numbers_in_mlmd(
    executions: dict[str, Execution], tmp_path: Path
) -> None:
    collect(tmp_path / "run", executions, candidates=[], winner=None)
    rows = json.loads((tmp_path / "run" / "lineage.json").read_text("utf-8"))
    assert [(row["node"], row["execution"], row["artifact"]) for row in rows] == [
        ("BreakHisExampleGen", 1, 10),
        ("Tuner", 2, 20),
        ("Trainer-vgg16", 3, 30),
    ]


def test_a_run_that_failed_at_once_leaves_an_empty_lineage(tmp_path: Path) -> None:
    collect(tmp_path / "run", {}, candidates=[], winner=None)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["lineage.json"]
