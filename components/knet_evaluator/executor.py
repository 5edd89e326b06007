"""Runs a model over validation and test images, once, in Beam."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.util import tfxio_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.knet_evaluator.inference import GroupBySlice, RunInference, WritePredictions
from knet.base import schema_names
from knet.evaluation.predictions import FOLDER
from knet.evaluation.tfma_config import eval_config
from knet.models.model_info import read_threshold

SPLITS: Final = ("validation", "test")


class Executor(base_beam_executor.BaseBeamExecutor):
    """Images are read and predicted in the workers; what comes together are sums and rows of the table."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes TFMA's metrics by slice, and the predictions.

        Raises:
            UserError: the model gives an image no probability; the text names both.
        """
        model = artifact_utils.get_single_instance(input_dict["model"])
        folder = Path(artifact_utils.get_single_uri(output_dict["evaluation"]))
        threshold = float(np.float32(read_threshold(Path(model.uri))))  # as the served graph compares
        slices = json.loads(exec_properties["slices"])
        candidate = exec_properties["candidate"]
        config = eval_config(slices=slices, threshold=threshold)
        examples = input_dict["examples"]
        schema = _without_pixels(artifact_utils.get_single_uri(input_dict["schema"]))
        columns = [feature.name for feature in schema.feature if feature.type == schema_pb2.BYTES]
        source = tfxio_utils.get_tfxio_factory_from_artifact(
            examples=examples,
            telemetry_descriptors=["Evaluator"],
            schema=schema,
            raw_record_column_name=tfma.ARROW_INPUT_COLUMN,
        )
        ask = RunInference(path_utils.serving_model_path(model.uri), candidate=candidate, columns=columns)
        with self._make_beam_pipeline() as pipeline:
            # What goes into a Flatten, Beam's runner for one machine holds in memory: so no images.
            answers = [
                pipeline
                | f"Read {split}" >> source(_records(examples, split)).BeamSource()
                | f"Ask {split}" >> beam.ParDo(ask)
                for split in SPLITS
            ] | beam.Flatten()
            _ = answers | "Keep" >> WritePredictions(
                folder / FOLDER, candidate=candidate, threshold=threshold, columns=columns
            )
            _ = (
                answers
                | "GatherAlike" >> beam.ParDo(GroupBySlice([schema_names.SPLIT, *slices]))
                | tfma.ExtractEvaluateAndWriteResults(
                    eval_config=config,
                    extractors=[
                        tfma.extractors.SliceKeyExtractor(eval_config=config, materialize=False),
                    ],
                    output_path=str(folder),
                )
            )


def _records(examples: list[types.Artifact], split: str) -> str:
    return io_utils.all_files_pattern(artifact_utils.get_split_uri(examples, split))


def _without_pixels(folder: str) -> schema_pb2.Schema:
    """The label and the texts: what is not named is not decoded again beside the model."""
    schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(folder))
    wanted = [
        feature
        for feature in schema.feature
        if feature.name == schema_names.LABEL
        or (feature.type == schema_pb2.BYTES and feature.name != schema_names.IMAGE)
    ]
    return schema_pb2.Schema(feature=wanted)
