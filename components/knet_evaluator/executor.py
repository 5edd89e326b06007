"""Executor of KnetEvaluator: predict validation and test images once, in Beam, and evaluate them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
from knet.models.model_info import read_decision


class Executor(base_beam_executor.BaseBeamExecutor):
    """Beam workers read and predict the images; only sums and rows of the table are collected."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Write TFMA's metrics by slice, and the predictions.

        Raises:
            UserError: The score of an image is no probability; the message names the candidate and the image.
        """
        model = artifact_utils.get_single_instance(input_dict["model"])
        folder = Path(artifact_utils.get_single_uri(output_dict["evaluation"]))
        decision = read_decision(Path(model.uri))
        classes, threshold = decision.classes, decision.threshold
        if threshold is not None:
            threshold = float(np.float32(threshold))  # as the served graph compares
        slices = json.loads(exec_properties["slices"])
        candidate = exec_properties["candidate"]
        config = eval_config(slices=slices, threshold=threshold, classes=classes, positive=decision.positive)
        examples = input_dict["examples"]
        schema = _schema_without_image(artifact_utils.get_single_uri(input_dict["schema"]))
        columns = [feature.name for feature in schema.feature if feature.type == schema_pb2.BYTES]
        source = tfxio_utils.get_tfxio_factory_from_artifact(
            examples=examples,
            telemetry_descriptors=["Evaluator"],
            schema=schema,
            raw_record_column_name=tfma.ARROW_INPUT_COLUMN,
        )
        run_inference = RunInference(
            path_utils.serving_model_path(model.uri),
            candidate=candidate,
            columns=columns,
            probabilities=len(classes) > 2,
        )
        with self._make_beam_pipeline() as pipeline:
            # Beam's local runner holds the inputs of a Flatten in memory, so they have no images.
            predictions = [
                pipeline
                | f"Read {split}" >> source(_records(examples, split)).BeamSource()
                | f"Predict {split}" >> beam.ParDo(run_inference)
                for split in schema_names.EVALUATED_SPLITS
            ] | beam.Flatten()
            _ = predictions | "WritePredictions" >> WritePredictions(
                folder / FOLDER,
                candidate=candidate,
                threshold=threshold,
                columns=columns,
                probabilities=len(classes) > 2,
            )
            _ = (
                predictions
                | "GroupBySlice" >> beam.ParDo(GroupBySlice([schema_names.SPLIT, *slices]))
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


def _schema_without_image(folder: str) -> schema_pb2.Schema:
    """Read the schema of the label and the texts: other features are decoded by the model alone."""
    schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(folder))
    wanted = [
        feature
        for feature in schema.feature
        if feature.name == schema_names.LABEL
        or (feature.type == schema_pb2.BYTES and feature.name != schema_names.IMAGE)
    ]
    return schema_pb2.Schema(feature=wanted)
