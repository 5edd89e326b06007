"""Runs one executor of TFX or ours in a container of the compiled graph.

TFX's own entrypoint fails on open-source Kubeflow, whose artifacts come without types and with URIs that
TensorFlow cannot open. This one completes the launcher's message.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.runners.kubeflow.exchange import exchanged
from pipeline.runners.kubeflow.invocation import INPUTS_SPEC, OUTPUTS_SPEC, local_invocation
from pipeline.runners.kubeflow.last_words import last_words
from pipeline.runners.kubeflow.remote_uris import remote_uri
from pipeline.runners.kubeflow.run_values import with_run_values


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the executor that the arguments name; the last line of the log says why, where it fails.

    Args:
        arguments: those that TFX compiles into a container; what is unknown is Beam's.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    parser = argparse.ArgumentParser(prog="entrypoint", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True, metavar="EXECUTOR_INPUT")
    parser.add_argument(INPUTS_SPEC, required=True, dest="inputs_spec", metavar="INPUTS_SPEC")
    parser.add_argument(OUTPUTS_SPEC, required=True, dest="outputs_spec", metavar="OUTPUTS_SPEC")
    options, beam_args = parser.parse_known_args(arguments)
    with last_words():
        run_executor(
            options.executor_class_path,
            invocation=options.json_serialized_invocation_args,
            inputs_spec=options.inputs_spec,
            outputs_spec=options.outputs_spec,
            beam_args=beam_args,
        )


def run_executor(
    class_path: str, *, invocation: str, inputs_spec: str, outputs_spec: str, beam_args: Sequence[str]
) -> None:
    """Runs an executor and writes what it made where the invocation says.

    Args:
        class_path: the executor's import path.
        invocation: an ExecutorInput as JSON.
        inputs_spec: the component's ComponentInputsSpec as JSON.
        outputs_spec: the component's ComponentOutputsSpec as JSON.
        beam_args: for executors that run Beam.
    """
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as utils
    from tfx.utils import import_utils

    message = local_invocation(invocation, inputs_spec=inputs_spec, outputs_spec=outputs_spec)
    executor_class = import_utils.import_class_by_path(class_path)
    parsed = json_format.ParseDict(message, pipeline_spec_pb2.ExecutorInput(), ignore_unknown_fields=True)
    spec = json_format.Parse(inputs_spec, pipeline_spec_pb2.ComponentInputsSpec(), ignore_unknown_fields=True)
    names: dict[int, str] = {}
    inputs = utils.parse_raw_artifact_dict(parsed.inputs.artifacts, names)
    outputs = utils.parse_raw_artifact_dict(parsed.outputs.artifacts, names)
    properties = with_run_values(
        utils.parse_execution_properties(parsed.inputs.parameter_values, parsed.inputs.parameters, spec)
    )
    output_file = Path(parsed.outputs.output_file)
    place = {"unique_id": output_file.parent.name, "tmp_dir": str(output_file.parent / ".temp")}
    flags = "beam_pipeline_args" if issubclass(executor_class, BaseBeamExecutor) else "extra_flags"
    context = executor_class.Context(**{flags: list(beam_args)}, **place)
    start = time.monotonic()
    with exchanged(message):
        executor_class(context).Do(inputs, outputs, properties)
    seconds = time.monotonic() - start

    made = pipeline_spec_pb2.ExecutorOutput()
    for name, artifacts in utils.translate_executor_output(outputs, names).items():
        for artifact in artifacts.artifacts:
            artifact.uri = remote_uri(artifact.uri)
            artifact.metadata["seconds"] = seconds  # for the run's report
        made.artifacts[name].CopyFrom(artifacts)
    output_file.parent.mkdir(parents=True, exist_ok=True)
    output_file.write_text(json_format.MessageToJson(made), encoding="utf-8")


if __name__ == "__main__":
    main()
