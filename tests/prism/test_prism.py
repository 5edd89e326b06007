"""Beam's stages on a portable runner with external workers give the results of the local runner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components.knet_evaluator.executor import Executor
from knet.data.validation import read_statistics
from knet.evaluation.predictions import FOLDER, read_predictions
from knet.evaluation.tfma_config import read_metrics

pytestmark = pytest.mark.prism

_LAST = "Evaluator-mobilenet"
_SETTINGS = (
    "candidates={mobilenet: {weights: none, alpha: 0.25}}",
    "tuning=null",
    "image.size=32",
    "training.epochs=1",
    "data.sample.patients=26",
    "data.split.test_share=0.25",
)
_MISSING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("components", "knet", "pipeline"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


def _options(job_endpoint: str, pool: str) -> list[str]:
    return [
        "--runner=PortableRunner",
        f"--job_endpoint={job_endpoint}",
        "--environment_type=EXTERNAL",
        f"--environment_config={pool}",
        "--sdk_container_image=none",
    ]


def _beam(job_endpoint: str, pool: str) -> str:
    return f"beam={{args: [{', '.join(_options(job_endpoint, pool))}]}}"


@pytest.fixture(scope="module")
def outputs(
    make_knet: Callable[..., Any], job_endpoint: str, worker_pool: Callable[..., str]
) -> dict[str, Path]:
    """Output folders of the local runner and of Prism, down to the evaluation."""
    found = {}
    for name, settings in (("local", ()), ("prism", (_beam(job_endpoint, worker_pool()),))):
        finished = make_knet(settings=_SETTINGS).run(*settings, command=f"run --until {_LAST}")
        assert finished.code == 0, finished.stdout + finished.stderr
        assert finished.states()[_LAST] == "done"
        found[name] = finished.output / "artifacts"
    return found


def _files(artifacts: Path, node: str, output: str, pattern: str) -> dict[str, Path]:
    """Return the files of an output by name."""
    (folder,) = (artifacts / node / output).iterdir()
    return {path.relative_to(folder).as_posix(): path for path in folder.glob(pattern)}


def test_examples_are_equal_to_the_byte(outputs: dict[str, Path]) -> None:
    local, prism = (
        {
            name: file.read_bytes()
            for name, file in _files(one, "BreakHisExampleGen", "examples", "Split-*/*").items()
        }
        for one in outputs.values()
    )
    assert local == prism and len(local) >= 3


def test_statistics_are_equal_up_to_rounding(outputs: dict[str, Path]) -> None:
    def numbers(artifacts: Path) -> dict[tuple[str, str], tuple[float, ...]]:
        (folder,) = (artifacts / "StatisticsGen" / "statistics").iterdir()
        return {
            (split, feature.path.step[0]): (
                feature.num_stats.mean,
                feature.num_stats.std_dev,
                feature.num_stats.common_stats.num_non_missing,
                feature.string_stats.unique,
            )
            for split, statistics in read_statistics(folder).items()
            for feature in statistics.datasets[0].features
        }

    local, prism = map(numbers, outputs.values())
    assert local.keys() == prism.keys() and len(local) > 30
    for feature, values in local.items():
        assert prism[feature] == pytest.approx(values, rel=1e-12), feature


def _records(artifacts: Path) -> Iterator[Any]:
    """Yield split and features of every record; the order of features in its bytes is by chance."""
    files = _files(artifacts, "Transform", "transformed_examples", "Split-*/*")
    for name, file in files.items():
        for record in tf.data.TFRecordDataset([str(file)], compression_type="GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            yield (
                name.partition("/")[0],
                *sorted((key, value.SerializeToString()) for key, value in features.items()),
            )


def test_transformed_records_are_equal_as_a_set(outputs: dict[str, Path]) -> None:
    local, prism = (Counter(_records(one)) for one in outputs.values())
    assert local == prism and len(local) > 100


def _only(artifacts: Path, node: str, output: str) -> str:
    (folder,) = (artifacts / node / output).iterdir()
    return str(folder)


def test_evaluations_of_a_model_are_equal(
    outputs: dict[str, Path], job_endpoint: str, worker_pool: Callable[..., str], tmp_path: Path
) -> None:
    # The two trainings read the transformed images in another order, so that their weights differ.
    artifacts = outputs["local"]
    model, examples, schema, evaluation = (
        standard_artifacts.Model(),
        standard_artifacts.Examples(),
        standard_artifacts.Schema(),
        standard_artifacts.ModelEvaluation(),
    )
    model.uri = _only(artifacts, "Trainer-mobilenet", "model")
    examples.uri = _only(artifacts, "BreakHisExampleGen", "examples")
    examples.split_names = artifact_utils.encode_split_names(["train", "validation", "test"])
    schema.uri = _only(artifacts, "ImportSchemaGen", "schema")
    evaluation.uri = str(tmp_path / "evaluation")
    context = Executor.Context(
        beam_pipeline_args=_options(job_endpoint, worker_pool()), tmp_dir=str(tmp_path / "tmp"), unique_id="1"
    )
    Executor(context).Do(
        {"model": [model], "examples": [examples], "schema": [schema]},
        {"evaluation": [evaluation]},
        {"candidate": "mobilenet", "slices": '["magnification", "subtype"]'},
    )
    local = Path(_only(artifacts, _LAST, "evaluation"))
    assert read_predictions(tmp_path / "evaluation" / FOLDER).equals(read_predictions(local / FOLDER))
    found, expected = read_metrics(tmp_path / "evaluation"), read_metrics(local)
    assert found.keys() == expected.keys() and len(expected) > 10
    for key, metrics in expected.items():
        assert found[key] == pytest.approx(metrics, rel=1e-12, nan_ok=True), key


def test_workers_without_the_package_are_named(
    make_knet: Callable[..., Any], job_endpoint: str, worker_pool: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_MISSING, encoding="utf-8")
    beam = _beam(job_endpoint, worker_pool(PYTHONPATH=str(tmp_path)))
    finished = make_knet(settings=_SETTINGS).run(beam, command="run --until BreakHisExampleGen")
    assert finished.code == 2
    assert finished.stderr == (
        "error: BreakHisExampleGen: the Beam workers lack this software (No module named 'knet'): start them "
        "in the image of the same version, or install the wheels of `make wheels` where they run\n"
    )


def test_an_error_in_a_worker_is_one_line(
    make_knet: Callable[..., Any], job_endpoint: str, worker_pool: Callable[..., str], tmp_path: Path
) -> None:
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import numpy\n"
        "import knet.evaluation.predictions as module\n"
        "module.check_scores = lambda scores, check=module.check_scores, **names: "
        "check(scores * numpy.nan, **names)\n",
        encoding="utf-8",
    )
    beam = _beam(job_endpoint, worker_pool(PYTHONPATH=str(tmp_path)))
    finished = make_knet(settings=_SETTINGS).run(beam, command=f"run --until {_LAST}")
    assert finished.code == 2
    assert finished.stderr.startswith(f"error: {_LAST}: mobilenet: invalid probability nan for image ")
    assert finished.stderr.count("\n") == 1
