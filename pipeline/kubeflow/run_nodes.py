"""Nodes that run without TFX: RunStart reads data and run registry, RunReport and RunEnd write the record.

RunStart is never cached. Its outputs are parameters of the other nodes, and so part of their cache keys: a
node runs again if one of them changes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from knet.base import node_ids, schema_names
from knet.base.digests import file_digest, text_digest
from knet.base.environment import set_environment
from knet.base.errors import UserError
from knet.base.storage import open_store
from knet.runs.record import Data, Execution, NodeRecord, OutputArtifact, RunRecord
from knet.runs.registry import PriorState, RunRegistry
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.kubeflow.artifact_uris import check_environment, local_path
from pipeline.kubeflow.candidate_failures import (
    candidate_nodes,
    last_failures,
    recorded_failure,
    retry_output,
    save_for_retry,
)
from pipeline.kubeflow.deleted_artifacts import (
    GENERATION,
    cache_generation,
    check_inputs,
    start_cache_generation,
)
from pipeline.kubeflow.graph_edits import SEPARATOR
from pipeline.kubeflow.notifications import failed_run, notify, recorded_run
from pipeline.kubeflow.run_state import (
    REGISTRY_VARIABLE,
    log_failure_and_exit,
    read_failures,
    read_run_context,
    run_id,
    save_run_context,
)
from pipeline.kubeflow.visualizations import Visualization, draw_run, write_visualizations
from pipeline.preflight import check_tracking, gate_refusal, prepare_data
from pipeline.runners.lifecycle import (
    RunContext,
    RunOutcome,
    finalize_run,
    load_prior_state,
    start_run,
    track_run,
)


class ContainerNode:
    """Inputs and outputs of a container, as an ExecutorInput message names them.

    Attributes:
        parameters: values of the input parameters by name.
    """

    def __init__(self, message: Mapping[str, Any]) -> None:
        """Read the message.

        Args:
            message: the ExecutorInput as parsed JSON, which the launcher puts in the place of `{{$}}`.
        """
        self._message = message
        self.parameters: Mapping[str, Any] = message.get("inputs", {}).get("parameterValues", {})

    def parse_input_artifacts(self) -> dict[str, Execution]:
        """Return the executions of nodes whose artifacts are inputs named `<node>--<output>`, by node.

        Executions with artifacts of other runs only are cached ones. Inputs with other names, which launchers
        add, are ignored.
        """
        outputs: dict[str, dict[str, OutputArtifact]] = {}
        for name, held in self._message.get("inputs", {}).get("artifacts", {}).items():
            node, separator, output = name.partition(SEPARATOR)
            if not separator:
                continue
            (artifact,) = held["artifacts"]
            uri = artifact["uri"]
            outputs.setdefault(node, {})[output] = OutputArtifact(
                artifact["name"], Path(local_path(uri)), artifact.get("metadata", {}), remote=uri
            )
        this_run = f"/{run_id()}/"
        return {
            node: Execution(
                id=next(iter(artifacts.values())).id,
                cached=not any(this_run in str(artifact.remote) for artifact in artifacts.values()),
                outputs=artifacts,
            )
            for node, artifacts in outputs.items()
        }

    def write_outputs(self, values: Mapping[str, Any]) -> None:
        """Write output parameters to the files in the message: text as it is, other values as JSON."""
        definitions = self._message["outputs"]["parameters"]
        for name, value in values.items():
            file = Path(definitions[name]["outputFile"])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")

    def write_visualizations(self, node: str, draw: Callable[[], Mapping[str, Visualization]]) -> None:
        """Write the artifacts for the web interface, and the ExecutorOutput message with their metadata.

        Args:
            node: name of the node.
            draw: returns the visualizations by name of the artifact.
        """
        made = write_visualizations(self._message, node, draw)
        if made:
            output = Path(self._message["outputs"]["outputFile"])
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps({"artifacts": made}), encoding="utf-8")


def run_node(work: Callable[[ContainerNode], None], arguments: Sequence[str] | None = None) -> None:
    """Run a container; the last line of the log is the error, if there is one.

    Args:
        work: the node's function, such as `run_start`.
        arguments: `--executor_input` and the message as JSON. Default: those of the process.
    """
    set_environment()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    parser = argparse.ArgumentParser(description=work.__doc__)
    parser.add_argument("--executor_input", required=True, metavar="JSON")
    options = parser.parse_args(arguments)
    with log_failure_and_exit():
        check_environment()
        message = json.loads(options.executor_input)
        check_inputs(message)
        work(ContainerNode(message))


def run_start(node: ContainerNode) -> None:
    """Check the data, load the state of earlier runs, and save the context of this run.

    `RunEnd` needs a context to record a failure, so one without data is saved first.

    Raises:
        UserError: the data or a parameter of the run are invalid; the message names it.
    """
    parameters = node.parameters
    config = run_config(parameters)
    registry = RunRegistry(f"{parameters['registry']}/registry")
    started = datetime.now(timezone.utc)
    unread = _unread_data(config)
    schema = Path(config.kubeflow.schema_file)
    tags = tuple(map(str, parameters.get("tags") or ()))
    remarks: dict[str, Any] = {"note": parameters.get("note") or "", "tags": tags}
    context = start_run(
        registry, config, unread, prior=PriorState(), schema=schema, graph="", started=started
    )
    save_run_context(parameters["registry"], replace(context, **remarks))
    check_tracking(config)
    schema_digest = _schema_digest(schema)
    with tempfile.TemporaryDirectory() as folder:
        local = config.model_copy(update={"output": Path(folder)})
        data = prepare_data(local, registry=registry, progress=print)
    _check_gate(config, data, registry, confirmed=parameters.get("confirmed", False))
    config = config.with_slices(data.slices)
    prior = load_prior_state(registry, config, data)
    run = [str(parameters[name]) for name in ("graph", "data_source", "data_root", "seed", "epochs")]
    graph = text_digest(*run, data.fingerprint, data.split_sha256, schema_digest)
    context = start_run(registry, config, data, prior=prior, schema=schema, graph=graph, started=started)
    save_run_context(parameters["registry"], replace(context, **remarks))
    configured = os.environ[REGISTRY_VARIABLE]  # nodes know no other
    if not parameters["cache"]:
        start_cache_generation(configured, reason="the parameter cache of the run is false")
    failures = last_failures(configured)
    retries = {
        retry_output(name): failures[name].run if name in failures else ""
        for name in candidate_nodes(context.config)
    }
    found = {"schema_digest": schema_digest, GENERATION: cache_generation(configured)}
    node.write_outputs({**_start_outputs(context), **retries, **found})


def _check_gate(config: Config, data: Data, registry: RunRegistry, *, confirmed: bool) -> None:
    """Check that the gate may pass a model, unless the run is confirmed.

    Raises:
        UserError: the gate must refuse every model.
    """
    refusal = gate_refusal(config, data.test_patients, registry=registry)
    if refusal and not confirmed:
        raise UserError(f"{refusal}; the parameter confirmed of the run trains nevertheless")
    if refusal:
        print(f"note: {refusal}")


def _schema_digest(file: Path) -> str:
    """Return the digest of the schema in this container.

    Raises:
        UserError: there is no such file.
    """
    try:
        return file_digest(file)
    except OSError as error:
        raise UserError(
            f"kubeflow.schema_file: cannot read {file} in the container ({error.strerror}); build it into "
            "the image, or mount the volume that holds it (kubeflow.volumes)"
        ) from None


def _unread_data(config: Config) -> Data:
    """Return the data of a run before they are read."""
    return Data(
        source=config.data.source or Path(),
        root=config.data.root,
        fingerprint="",
        span=0,
        synthetic=False,
        patients=dict.fromkeys(schema_names.SPLITS, 0),
        images=dict.fromkeys(schema_names.SPLITS, 0),
        columns=(),
        excluded_duplicates=0,
        split_sha256="",
    )


def run_config(parameters: Mapping[str, Any]) -> Config:
    """Return the compiled configuration with the values of a run.

    Args:
        parameters: input parameters of `RunStart` by name.

    Raises:
        UserError: a value is out of range.
    """
    values = {
        "seed": parameters["seed"],
        "training.epochs": parameters["epochs"],
        "data.source": parameters["data_source"],
        "data.root": parameters["data_root"] or None,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "of-this-run.yaml"
        file.write_text(parameters["config"], encoding="utf-8")  # JSON is YAML too
        return load_config(file, [f"{name}={json.dumps(value)}" for name, value in values.items()])


def _start_outputs(context: RunContext) -> dict[str, Any]:
    statistics, baseline = context.prior.statistics, context.prior.baseline
    outputs: dict[str, Any] = {
        "fingerprint": context.data.fingerprint,
        "split_sha256": context.data.split_sha256,
        "span": context.data.span,
        "synthetic_data": context.data.synthetic,
        "previous_statistics": str(statistics.folder) if statistics else "",
        "previous_digest": statistics.digest if statistics else "",
        "baseline": str(baseline.file) if baseline else "",
        "baseline_digest": baseline.digest if baseline else "",
        "baseline_version": baseline.version if baseline else "",
    }
    for name in context.config.candidates:
        trials = context.prior.trials.get(name)
        outputs[f"trials_{name}"] = str(trials.file) if trials else ""
        outputs[f"trials_digest_{name}"] = trials.digest if trials else ""
    return outputs


def run_report(node: ContainerNode) -> None:
    """Write record, report page and state for later runs to the registry.

    Raises:
        UserError: the registry has no context of this run.
    """
    location = node.parameters["registry"]
    context = read_run_context(location)
    if context is None:
        raise UserError(
            f"{location} has no context of this run: was it emptied meanwhile? Submit the run again"
        )
    executions = node.parse_input_artifacts()
    nodes: list[NodeRecord] = []
    failures: dict[str, str] = {}
    for name in json.loads(node.parameters["nodes"]):
        artifacts = executions[name].outputs.values()
        failure = next((found for a in artifacts if (found := recorded_failure(a.properties))), None)
        state = "cached" if executions[name].cached else "done"
        if failure:
            state = "failed" if name == failure.node else "skipped"
            failures[failure.candidate] = failure.why
            del executions[name]
            if failure.run != run_id():  # cached, since the registry was emptied or the runs overlapped
                save_for_retry(replace(failure, run=run_id()))
        seconds = 0.0 if state == "cached" else max(a.properties.get("seconds", 0.0) for a in artifacts)
        nodes.append(NodeRecord(name, state, round(seconds, 1)))
    ordered = {record.node: executions[record.node] for record in nodes if record.node in executions}
    outcome = RunOutcome(tuple(nodes), ordered, failures=failures)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "page"
        record = publish_run(location, context, outcome, folder)
        node.write_visualizations(node_ids.RUN_REPORT, lambda: draw_run(record, folder))


_UNKNOWN_FAILURE = (
    "a container ended without an error message, such as one that exceeds its memory; see the run's page in "
    "Kubeflow"
)


def run_end(node: ContainerNode) -> None:
    """Record a run that failed, and notify of the end of the run."""
    location = node.parameters["registry"]
    try:
        recorded = _record_failure(location)
        early = "" if recorded else _early_failure()
    except Exception as error:
        reason = f"{node_ids.RUN_END}: {error}"
        notify(lambda: failed_run(reason))
        raise
    if early:
        print(early)
    notify(lambda: recorded_run(location, recorded) if recorded else failed_run(early))


def _early_failure() -> str:
    """Return the reason of a run without context."""
    failures = read_failures(os.environ[REGISTRY_VARIABLE])
    reasons = "; ".join(f"{failure.node}: {failure.error}" for failure in failures)
    return f"the run failed before it began: {reasons or f'see the log of {node_ids.RUN_START}'}"


def _record_failure(location: str) -> str | None:
    """Write record and report page of a failed run; one that succeeded has both already.

    Returns:
        The id of the record, or None for a run without context.
    """
    context = read_run_context(location)
    if context is None:
        return None
    if context.run_id in RunRegistry(f"{location}/registry").runs():
        return context.run_id
    failures = read_failures(os.environ[REGISTRY_VARIABLE])
    lost = [one for one in last_failures(os.environ[REGISTRY_VARIABLE]).values() if one.run == run_id()]
    names = [*(failure.node for failure in lost), *(failure.node for failure in failures)]
    nodes = tuple(NodeRecord(name, "failed", 0.0) for name in names)
    error = f"{failures[0].node}: {failures[0].error}" if failures else _UNKNOWN_FAILURE
    user_error = bool(failures) and failures[0].user_error
    reasons = {failure.candidate: failure.why for failure in lost}
    outcome = RunOutcome(nodes, failures=reasons, error=error, user_error=user_error)
    with tempfile.TemporaryDirectory() as temporary:
        publish_run(location, context, outcome, Path(temporary) / "page")
    return context.run_id


def publish_run(location: str, context: RunContext, outcome: RunOutcome, folder: Path) -> RunRecord:
    """Write the record to `<location>/registry` and the page to `<location>/reports/<run id>`.

    Args:
        location: folder or URI. The commands about runs read a local copy of it as `output`.
        context: of the run.
        outcome: of its nodes.
        folder: receives the page and its inputs.

    Returns:
        The record.
    """

    def upload() -> None:
        store = open_store(location)
        for file in (path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder).as_posix()
            store.write(f"reports/{context.run_id}/{name}", file.read_bytes())

    record = finalize_run(
        context,
        outcome,
        registry=RunRegistry(f"{location}/registry"),
        served=Path(context.config.kubeflow.push_folder),
        folder=folder,
        explanations=open_store(f"{location}/explanations"),
        publish=upload,
    )
    print(f"report: {location}/reports/{context.run_id}")
    if tracked := track_run(record, folder, context.config):
        print(tracked)
    return record


_NODES = {node_ids.RUN_START: run_start, node_ids.RUN_REPORT: run_report, node_ids.RUN_END: run_end}


if __name__ == "__main__":
    run_node(_NODES[sys.argv[1]], sys.argv[2:])
