"""PortableRunner removes Flattens of one collection, and no other."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

from components.portable_runner import remove_single_flattens


def flattens(pipeline: beam_runner_api_pb2.Pipeline) -> list[int]:
    """Number of inputs of each Flatten."""
    return sorted(
        len(transform.inputs)
        for transform in pipeline.components.transforms.values()
        if transform.spec.urn == common_urns.primitives.FLATTEN.urn
    )


def test_single_flattens_are_removed_and_the_result_is_the_same(tmp_path: Path) -> None:
    built = beam.Pipeline()
    numbers = built | beam.Create([1, 2])
    # One after the other, as consumer of several, and as the output of a composite.
    flat = [[numbers] | "First" >> beam.Flatten()] | "Second" >> beam.Flatten()
    both = [flat, flat | "Tenfold" >> beam.Map(lambda number: number * 10)] | "Both" >> beam.Flatten()
    alone = both | "Third" >> beam.ptransform_fn(lambda collection: [collection] | beam.Flatten())()
    file = str(tmp_path / "out")
    _ = alone | beam.Map(str) | beam.io.WriteToText(file, num_shards=1, shard_name_template="")
    pipeline = built.to_runner_api(default_environment=EmbeddedPythonEnvironment.default())
    before = flattens(pipeline)
    remove_single_flattens(pipeline)
    assert before == [1, 1, 1, 2] and flattens(pipeline) == [2]
    names = [transform.unique_name for transform in pipeline.components.transforms.values()]
    assert not any(name.startswith(("First", "Second", "Third")) for name in names)
    FnApiRunner().run_via_runner_api(pipeline, built.options).wait_until_finish()
    assert sorted(Path(file).read_text("utf-8").split()) == ["1", "10", "2", "20"]
