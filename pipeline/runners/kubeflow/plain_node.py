"""A container that runs no executor of TFX: what it is given, and where its outputs go."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.runners.execution import Execution, OutputArtifact
from pipeline.runners.kubeflow.last_words import last_words
from pipeline.runners.kubeflow.remote_uris import local_path
from pipeline.runners.kubeflow.run_notes import RUN

SEPARATOR = "--"  # between node and output in the name of an input: a node's own has one hyphen


class PlainNode:
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


def run_node(work: Callable[[PlainNode], None], arguments: Sequence[str] | None = None) -> None:
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
    with last_words():
        work(PlainNode(json.loads(options.executor_input)))
