"""Entrypoint of the compiled pipeline's containers: runs one TFX executor on the launcher's message.

TFX's own entrypoint fails on open-source Kubeflow, which sends artifacts without types and with URIs that
TensorFlow cannot open. This one completes the message from the component's specification.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from knet.base import node_ids
from knet.base.environment import set_environment
from pipeline.kubeflow.artifact_uris import check_environment, local_path, remote_uri, shared_volume
from pipeline.kubeflow.candidate_failures import (
    RETRY,
    failure_to_record,
    record_failure,
    save_for_retry,
    split_failed_inputs,
)
from pipeline.kubeflow.deleted_artifacts import FILES, GENERATION, check_inputs, count_files
from pipeline.kubeflow.run_state import NODE_VARIABLE, log_failure_and_exit, run_id
from pipeline.kubeflow.visualizations import (
    NodeFiles,
    Visualization,
    draw_failure,
    draw_node,
    write_visualizations,
)

# Options of the entrypoint. TFX compiles the first into a container, and none about outputs.
INPUTS_SPEC: Final = "--json_serialized_inputs_spec_args"
OUTPUTS_SPEC: Final = "--json_serialized_outputs_spec_args"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the executor that the arguments name; the last line of the log is the error, if there is one.

    Args:
        arguments: those that TFX compiles into a container; unknown ones are passed to Beam. Default: those
            of the process.
    """
    set_environment()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    parser = argparse.ArgumentParser(prog="entrypoint", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True, metavar="EXECUTOR_INPUT")
    parser.add_argument(INPUTS_SPEC, required=True, dest="inputs_spec", metavar="INPUTS_SPEC")
    parser.add_argument(OUTPUTS_SPEC, required=True, dest="outputs_spec", metavar="OUTPUTS_SPEC")
    options, beam_args = parser.parse_known_args(arguments)
    with log_failure_and_exit():
        check_environment()
        check_inputs(json.loads(options.json_serialized_invocation_args))
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
    """Run an executor and write the ExecutorOutput to the file that the invocation names.

    Args:
        class_path: import path of the executor's class.
        invocation: an ExecutorInput as JSON.
        inputs_spec: the component's ComponentInputsSpec as JSON.
        outputs_spec: the component's ComponentOutputsSpec as JSON.
        beam_args: pipeline options for executors that run Beam.
    """
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as utils
    from tfx.utils import import_utils

    message = local_invocation(invocation, inputs_spec=inputs_spec, outputs_spec=outputs_spec)
    message, failed_inputs = split_failed_inputs(message)
    executor_class = import_utils.import_class_by_path(class_path)
    parsed = json_format.ParseDict(message, pipeline_spec_pb2.ExecutorInput(), ignore_unknown_fields=True)
    spec = json_format.Parse(inputs_spec, pipeline_spec_pb2.ComponentInputsSpec(), ignore_unknown_fields=True)
    names: dict[int, str] = {}
    inputs = utils.parse_raw_artifact_dict(parsed.inputs.artifacts, names)
    outputs = utils.parse_raw_artifact_dict(parsed.outputs.artifacts, names)
    properties = apply_run_parameters(
        utils.parse_execution_properties(parsed.inputs.parameter_values, parsed.inputs.parameters, spec)
    )
    for name in (RETRY, GENERATION):  # for Kubeflow's cache alone
        properties.pop(name, None)
    output_file = Path(parsed.outputs.output_file)
    folders = {"unique_id": output_file.parent.name, "tmp_dir": str(output_file.parent / ".temp")}
    flags = "beam_pipeline_args" if issubclass(executor_class, BaseBeamExecutor) else "extra_flags"
    context = executor_class.Context(**{flags: list(beam_args)}, **folders)
    start = time.monotonic()
    node = os.environ[NODE_VARIABLE]
    failure = failed_inputs[0] if failed_inputs and node_ids.candidate(node) else None
    with shared_volume(message):
        try:
            if failure is None:
                executor_class(context).Do(inputs, outputs, properties)
        except Exception as error:
            failure = failure_to_record(error)
            if failure is None:
                raise
            logging.getLogger(__name__).exception("%s; the run continues without the candidate", failure.why)
            save_for_retry(failure)
        if failure:
            record_failure(failure, outputs)
    seconds = time.monotonic() - start

    executor_output = pipeline_spec_pb2.ExecutorOutput()
    for name, artifacts in utils.translate_executor_output(outputs, names).items():
        for artifact in artifacts.artifacts:
            artifact.metadata[FILES] = count_files(Path(artifact.uri))
            artifact.uri = remote_uri(artifact.uri)
            artifact.metadata["seconds"] = seconds  # for the run's report
        executor_output.artifacts[name].CopyFrom(artifacts)

    def draw() -> Mapping[str, Visualization]:
        if failure:
            return draw_failure(node, failure.why)
        return draw_node(NodeFiles(node, _paths(inputs), _paths(outputs), properties, run_id()))

    made = write_visualizations(json.loads(invocation), node, draw)
    for name, held in made.items():
        json_format.ParseDict(held, executor_output.artifacts[name])
    output_file.parent.mkdir(parents=True, exist_ok=True)
    output_file.write_text(json_format.MessageToJson(executor_output), encoding="utf-8")


def _paths(artifacts: Mapping[str, Sequence[Any]]) -> dict[str, Path]:
    return {name: Path(held[0].uri) for name, held in artifacts.items() if held}


# Side of an ExecutorInput, its field, and the field of the specification that declares the names in it.
_FIELDS = (
    ("inputs", "parameterValues", "parameters"),
    ("inputs", "artifacts", "artifacts"),
    ("outputs", "parameters", "parameters"),
    ("outputs", "artifacts", "artifacts"),
)


def local_invocation(invocation: str, *, inputs_spec: str, outputs_spec: str) -> dict[str, Any]:
    """Complete an ExecutorInput message from the component's specification.

    Open-source Kubeflow sends input artifacts without their type, and with the URI of the object store, which
    neither TensorFlow nor Beam can open. Launchers from 2.5.0 on add the output `executor-logs`, whose type
    TFX cannot import. So names and types come from the specification alone.

    Args:
        invocation: the ExecutorInput as JSON, which the launcher puts in the place of `{{$}}`.
        inputs_spec: the component's ComponentInputsSpec as JSON.
        outputs_spec: the component's ComponentOutputsSpec as JSON.

    Returns:
        The ExecutorInput as parsed JSON: parameters and artifacts of the component, with the types that the
        component declares and with local paths.

    Raises:
        ValueError: an output of the component is missing in the message.
    """
    message: dict[str, Any] = json.loads(invocation)
    specs = {"inputs": json.loads(inputs_spec), "outputs": json.loads(outputs_spec)}
    for side, field, declared_in in _FIELDS:
        given = message.get(side, {}).get(field, {})
        declared = specs[side].get(declared_in, {})
        missing = sorted(set(declared) - set(given))
        if side == "outputs" and missing:
            raise ValueError(f"outputs.{field} of the launcher's message: {', '.join(missing)} missing")
        if given:
            message[side][field] = _declared_items(given, declared, f"{side}.{field}")
    for side, spec in specs.items():
        for name, held in message.get(side, {}).get("artifacts", {}).items():
            for artifact in held.get("artifacts", []):
                artifact["type"] = spec["artifacts"][name]["artifactType"]
                artifact["uri"] = local_path(artifact["uri"])
    return message


def _declared_items(given: Mapping[str, Any], declared: Mapping[str, Any], field: str) -> dict[str, Any]:
    added = sorted(set(given) - set(declared))
    if added:
        logging.getLogger(__name__).info(
            "%s: the executor does not get %s, which the component does not declare", field, ", ".join(added)
        )
    return {name: value for name, value in given.items() if name in declared}


def apply_run_parameters(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Write parameters whose names are dotted paths into the JSON of the properties that they lead to.

    Kubeflow's cache key holds whole parameters, so a value that differs between runs is a separate one.

    Args:
        properties: execution properties by name; `name.key.key` is a path into the property `name`.

    Returns:
        The properties without dots in their names, with these values set.

    Raises:
        ValueError: a path does not exist.

    Example:
        apply_run_parameters({"head": '{"seed": 0}', "head.seed": 7}) == {"head": '{"seed": 7}'}
    """
    values = {name: value for name, value in properties.items() if "." not in name}
    for name in sorted(set(properties) - set(values)):
        first, *path = name.split(".")
        if first not in values:
            raise ValueError(f"the parameter {name} leads to nothing: there is no property {first}")
        values[first] = _with_value(values[first], path, properties[name], name=name)
    return values


def _with_value(tree: Any, path: Sequence[str], value: Any, *, name: str) -> Any:
    """Return a copy of JSON, text where it was text, with another value at a path."""
    if isinstance(tree, str):
        return json.dumps(_with_value(json.loads(tree), path, value, name=name))
    first, *rest = path
    if first not in tree:
        raise ValueError(f"the parameter {name} leads to nothing: there is no {first}")
    return {**tree, first: _with_value(tree[first], rest, value, name=name) if rest else value}


if __name__ == "__main__":
    main()
