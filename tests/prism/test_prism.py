"""Beam's stages on a portable runner with external workers give the results of the local runner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

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


def _beam(job_endpoint: str, pool: str) -> str:
    return (
        f"beam={{args: [--runner=PortableRunner, --job_endpoint={job_endpoint}, --environment_type=EXTERNAL, "
        f"--environment_config={pool}, --sdk_container_image=none]}}"
    )


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
    def numbers(file: Path) -> dict[str, tuple[float, ...]]:
        statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(
            next(iter(tf.data.TFRecordDataset([str(file)]))).numpy()
        )
        return {
            feature.path.step[0]: (
                feature.num_stats.mean,
                feature.num_stats.std_dev,
                feature.num_stats.common_stats.num_non_missing,
            )
            for feature in statistics.datasets[0].features
        }

    local, prism = (_files(one, "StatisticsGen", "statistics", "Split-*/*") for one in outputs.values())
    assert local.keys() == prism.keys() and len(local) == 3
    for name, file in local.items():
        found, expected = numbers(prism[name]), numbers(file)
        assert found.keys() == expected.keys()
        for feature, values in expected.items():
            assert found[feature] == pytest.approx(values, rel=1e-12), feature


def _records(files: dict[str, Path]) -> Iterator[tuple[str, bytes]]:
    for name, file in files.items():
        for record in tf.data.TFRecordDataset([str(file)], compression_type="GZIP").as_numpy_iterator():
            yield name.partition("/")[0], record


def test_transformed_records_are_equal_as_a_set(outputs: dict[str, Path]) -> None:
    local, prism = (
        Counter(_records(_files(one, "Transform", "transformed_examples", "Split-*/*")))
        for one in outputs.values()
    )
    assert local == prism and len(local) > 100


def test_evaluations_have_the_same_images_and_metrics(outputs: dict[str, Path]) -> None:
    folders = [next((one / _LAST / "evaluation").iterdir()) for one in outputs.values()]
    local, prism = (read_predictions(folder / FOLDER) for folder in folders)
    columns = ["image", "patient", "split", "label"]
    assert local[columns].equals(prism[columns])
    local_metrics, prism_metrics = map(read_metrics, folders)
    assert local_metrics.keys() == prism_metrics.keys() and len(local_metrics) > 10
    for key, metrics in local_metrics.items():
        assert metrics.keys() == prism_metrics[key].keys()


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
