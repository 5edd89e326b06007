"""Beam runner of one machine: one worker in memory, or two processes where the input is large."""

from __future__ import annotations

import logging
from argparse import ArgumentParser
from typing import Any, Final

from apache_beam.io.iobase import BoundedSource, Read
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.pipeline import AppliedPTransform, Pipeline, PipelineVisitor
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from knet.base import node_ids

# Input, in MiB, from which two processes are faster than one on two cores (docs/benchmarks.md): less is read
# sooner than they import Beam and TensorFlow. The Evaluator is missing, since its model uses all cores in one
# process. The choice depends on the data alone: with another number of processes Transform's examples are in
# another order.
TWO_PROCESSES_FROM: Final = {
    node_ids.EXAMPLE_GEN: 160,
    node_ids.STATISTICS_GEN: 4_000,
    node_ids.TRANSFORM: 1_200,
}


class LocalRunnerOptions(PipelineOptions):
    """Options of `LocalRunner`."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument("--two_processes_from", type=int, help="MiB of input; absent: never two")
        parser.add_argument("--input_size", type=int, help="bytes; absent: those of the pipeline's sources")


def two_processes_from(mebibytes: int) -> str:
    """Return the pipeline option for the input from which `LocalRunner` starts two processes."""
    return f"--two_processes_from={mebibytes}"


def input_size(size: int) -> str:
    """Return the pipeline option for the input, in bytes, of a pipeline that reads it without a source."""
    return f"--input_size={size}"


class LocalRunner(FnApiRunner):
    """Runs a pipeline in this process, or in two worker processes if its input is large."""

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> Any:
        """Choose the number of workers, and run the pipeline."""
        local = options.view_as(LocalRunnerOptions)
        if local.two_processes_from is not None:
            size = _sources_size(pipeline) if local.input_size is None else local.input_size
            if size >= local.two_processes_from * 2**20:
                direct = options.view_as(DirectOptions)
                direct.direct_num_workers, direct.direct_running_mode = 2, "multi_processing"
                logging.getLogger(__name__).info("two worker processes for %d MiB", size >> 20)
        return super().run_pipeline(pipeline, options)


def _sources_size(pipeline: Pipeline) -> int:
    """Return the size of what the pipeline's sources read, in bytes."""
    sources = _Sources()
    pipeline.visit(sources)
    return sum(source.estimate_size() or 0 for source in sources.found)


class _Sources(PipelineVisitor):
    """Collects the bounded sources of a pipeline."""

    def __init__(self) -> None:
        self.found: list[BoundedSource] = []

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        transform = transform_node.transform
        if isinstance(transform, Read) and isinstance(transform.source, BoundedSource):
            self.found.append(transform.source)
