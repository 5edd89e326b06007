"""Beam's portable runner, with pipelines whose images stay in the worker that reads them."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability import portable_runner


class PortableRunner(portable_runner.PortableRunner):
    """Runs a pipeline on a job server, without its Flattens of one collection.

    TFX reads examples through such a Flatten. Job servers that run Flattens themselves, as Prism does, get
    every image from one worker, hold all of them and send them to the next.
    """

    def run_portable_pipeline(self, pipeline: beam_runner_api_pb2.Pipeline, options: PipelineOptions) -> Any:
        """Simplify the pipeline, and run it."""
        remove_single_flattens(pipeline)
        return super().run_portable_pipeline(pipeline, options)


def remove_single_flattens(pipeline: beam_runner_api_pb2.Pipeline) -> None:
    """Remove the Flattens of one collection, which return it as it is, from a pipeline, in place."""
    transforms = pipeline.components.transforms
    inputs = {}  # of the removed transforms, by output
    removed = set()
    for name, transform in list(transforms.items()):
        if transform.spec.urn == common_urns.primitives.FLATTEN.urn and len(transform.inputs) == 1:
            (output,) = transform.outputs.values()
            (inputs[output],) = transform.inputs.values()
            del transforms[name]
            removed.add(name)
    for transform in transforms.values():
        for collections in (transform.inputs, transform.outputs):
            for tag, collection in collections.items():
                while collection in inputs:
                    collection = inputs[collection]
                collections[tag] = collection
    _remove_empty_composites(pipeline, removed)
    for collection in inputs:
        del pipeline.components.pcollections[collection]


def _remove_empty_composites(pipeline: beam_runner_api_pb2.Pipeline, removed: set[str]) -> None:
    """Remove the removed transforms from their composites, and composites that are empty then."""
    transforms = pipeline.components.transforms
    while removed:
        empty = set()
        for name, transform in transforms.items():
            if removed & set(transform.subtransforms):
                kept = [part for part in transform.subtransforms if part not in removed]
                transform.subtransforms[:] = kept
                if not kept:
                    empty.add(name)
        for name in empty:
            del transforms[name]
        removed = empty
