"""A container that runs no executor of TFX: what it is given, and where its outputs go.

The first node on Kubeflow: what the data are now, and what earlier runs left.

It is never answered from the cache. The nodes behind take what it gives as parameters, so that they run
again where it is something else than before, and not otherwise.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from knet.base.digests import text_digest
from knet.base.errors import UserError
from knet.base.storage import open_store
from knet.runs.record import Execution, NodeRecord, OutputArtifact
from knet.runs.registry import RunRegistry
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.kubeflow.artifact_uris import local_path
from pipeline.kubeflow.run_state import (
    REGISTRY,
    RUN,
    log_failure_and_exit,
    read_failures,
    read_run_context,
    save_run_context,
)
from pipeline.preflight import prepare_data
from pipeline.runners.lifecycle import RunContext, RunOutcome, finalize_run, load_prior_state, start_run

SEPARATOR = "--"  # between node and output in the name of an input: a node's own has one hyphen


class ContainerNode:
    """Reads an ExecutorInput, the message that Kubeflow's launcher puts in the place of `{{$}}`."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        """Takes the message as JSON knows it."""
        self._message = message
        self.parameters: Mapping[str, Any] = message.get("inputs", {}).get("parameterValues", {})

    def executions(self) -> dict[str, Execution]:
        """By node, what inputs named `<node>--<output>` hold.

        An artifact that was made by another run than this one comes from the cache. Inputs with other names
        are the launcher's own.
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
        ours = f"/{os.environ[RUN]}/"
        return {
            node: Execution(
                id=next(iter(found.values())).id,
                cached=not any(ours in str(artifact.remote) for artifact in found.values()),
                outputs=found,
            )
            for node, found in outputs.items()
        }

    def give(self, outputs: Mapping[str, Any]) -> None:
        """Writes the output parameters: texts as they are, others as JSON."""
        places = self._message["outputs"]["parameters"]
        for name, value in outputs.items():
            file = Path(places[name]["outputFile"])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def run_node(work: Callable[[ContainerNode], None], arguments: Sequence[str] | None = None) -> None:
    """Runs what a container is for; the last line of the log says why, where it fails.

    Args:
        work: what it is for.
        arguments: `--executor_input`, and the message.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    parser = argparse.ArgumentParser(description=work.__doc__)
    parser.add_argument("--executor_input", required=True, metavar="JSON")
    options = parser.parse_args(arguments)
    with log_failure_and_exit():
        work(ContainerNode(json.loads(options.executor_input)))


def run_start(node: ContainerNode) -> None:
    """Looks at the data and into the registry, and notes how the run begins.

    Raises:
        UserError: the data, or a parameter of the run, are wrong; the text names it.
    """
    given = node.parameters
    config = run_config(given)
    registry = RunRegistry(f"{given['registry']}/registry")
    with tempfile.TemporaryDirectory() as folder:
        here = config.model_copy(update={"output": Path(folder)})
        data = prepare_data(here, registry=registry, progress=print)
    config = config.with_slices(data.slices)
    prior = load_prior_state(registry, config, data)
    run = [str(given[name]) for name in ("graph", "data_source", "data_root", "seed", "epochs")]
    graph = text_digest(*run, data.fingerprint, data.split_sha256)
    schema = Path(config.kubeflow.schema_file)
    context = start_run(registry, config, data, prior=prior, schema=schema, graph=graph)
    save_run_context(given["registry"], context)
    node.give(_outputs(context))


def run_config(given: Mapping[str, Any]) -> Config:
    """The compiled configuration with what the run was given.

    Args:
        given: the node's parameters.

    Raises:
        UserError: a value is out of range.
    """
    values = {
        "seed": given["seed"],
        "training.epochs": given["epochs"],
        "data.source": given["data_source"],
        "data.root": given["data_root"] or None,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "of-this-run.yaml"
        file.write_text(given["config"], encoding="utf-8")  # JSON is YAML too
        return load_config(file, [f"{name}={json.dumps(value)}" for name, value in values.items()])


def _outputs(context: RunContext) -> dict[str, Any]:
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
    """Writes record, page and what later runs need into the registry.

    Raises:
        UserError: the registry has no note of how the run began.
    """
    place = node.parameters["registry"]
    context = read_run_context(place)
    if context is None:
        raise UserError(f"{place} holds nothing of this run: was it emptied meanwhile?")
    executions = node.executions()
    nodes = []
    for name in json.loads(node.parameters["nodes"]):
        artifacts = executions[name].outputs.values()
        seconds = 0.0 if executions[name].cached else max(a.properties.get("seconds", 0.0) for a in artifacts)
        nodes.append(NodeRecord(name, "cached" if executions[name].cached else "done", round(seconds, 1)))
    ordered = {record.node: executions[record.node] for record in nodes}
    publish_run(place, context, RunOutcome(tuple(nodes), ordered))


_SILENT = (
    "a container ended without a word, such as one that is killed for its memory; see the run's own page"
)


def run_end(node: ContainerNode) -> None:
    """Writes record and page of a failed run; one that went well has both already."""
    place = node.parameters["registry"]
    context = read_run_context(place)
    if context is None:
        print("the run failed before it began: the log of its first node says why")
        return
    if context.run_id in RunRegistry(f"{place}/registry").runs():
        return
    failures = read_failures(os.environ[REGISTRY])
    nodes = tuple(NodeRecord(failure.node, "failed", 0.0) for failure in failures)
    error = f"{failures[0].node}: {failures[0].error}" if failures else _SILENT
    mendable = bool(failures) and failures[0].user_error
    publish_run(place, context, RunOutcome(nodes, error=error, user_error=mendable))


def publish_run(place: str, context: RunContext, outcome: RunOutcome) -> None:
    """Keeps the record in `<place>/registry`, and the page in `<place>/reports/<run id>`.

    Copied to a folder, both are what the commands about runs read, with that folder as `output`.

    Args:
        place: of the registry and the reports.
        context: of the run.
        outcome: of its nodes.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "page"

        def upload() -> None:
            store = open_store(place)
            for file in (path for path in folder.rglob("*") if path.is_file()):
                name = file.relative_to(folder).as_posix()
                store.write(f"reports/{context.run_id}/{name}", file.read_bytes())

        finalize_run(
            context,
            outcome,
            registry=RunRegistry(f"{place}/registry"),
            served=Path(context.config.kubeflow.push_folder),
            folder=folder,
            explanations=Path(temporary) / "explanations",
            publish=upload,
        )
    print(f"report: {place}/reports/{context.run_id}")


_NODES = {"RunStart": run_start, "RunReport": run_report, "RunEnd": run_end}


if __name__ == "__main__":
    run_node(_NODES[sys.argv[1]], sys.argv[2:])
