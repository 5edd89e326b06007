"""LocalRunner chooses the number of workers by the size of the input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from components.local_runner import input_size, two_processes_from
from pipeline.config.config import BeamConfig
from pipeline.runners.beam import beam_args

IN_MEMORY, TWO_PROCESSES = (1, "in_memory"), (2, "multi_processing")
MEBIBYTE = 2**20


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two files of one and two MiB."""
    for size in (1, 2):
        (tmp_path / f"{size}.gz").write_bytes(bytes(size * MEBIBYTE))
    return [str(tmp_path / name) for name in ("1.gz", "2.*")]


@pytest.fixture
def chosen(files: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns number and mode of the workers that a pipeline that reads the files would run with."""
    found: list[PipelineOptions] = []
    monkeypatch.setattr(FnApiRunner, "run_pipeline", lambda self, pipeline, options: found.append(options))

    def choose(*options: str) -> tuple[int, str]:
        pipeline = beam.Pipeline(argv=[*beam_args(BeamConfig()), *options])
        for file in files:
            _ = pipeline | f"Read {file}" >> beam.io.ReadFromTFRecord(file)
        pipeline.run()
        direct = found[-1].view_as(DirectOptions)
        return direct.direct_num_workers, direct.direct_running_mode

    return choose


def test_local_runner_without_threshold_runs_in_memory(chosen: Any) -> None:
    assert chosen() == IN_MEMORY


@pytest.mark.parametrize(("mebibytes", "expected"), [(3, TWO_PROCESSES), (4, IN_MEMORY)])
def test_local_runner_adds_up_what_the_sources_read(
    chosen: Any, mebibytes: int, expected: tuple[int, str]
) -> None:
    assert chosen(two_processes_from(mebibytes)) == expected


@pytest.mark.parametrize(("size", "expected"), [(5 * MEBIBYTE, TWO_PROCESSES), (5 * MEBIBYTE - 1, IN_MEMORY)])
def test_local_runner_prefers_the_size_it_is_given(chosen: Any, size: int, expected: tuple[int, str]) -> None:
    assert chosen(two_processes_from(5), input_size(size)) == expected
