"""Candidates that fail on Kubeflow: their containers succeed with artifacts that record the failure.

Kubeflow skips every task below a failed one, and resolves no inputs of a task whose producer failed. So a
candidate's container that ends with a user-correctable error records it in its outputs and exits with 0; the
candidate's later containers pass it on, and the others run without these inputs. Killed containers fail, and
Kubeflow starts them again.

Kubeflow caches such a container as it caches any that succeeds. The failure is therefore saved in the run
registry first, and the next run's RunStart gives the node another value of `RETRY`, which is part of its key.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from knet.base import node_ids
from knet.base.disk import disk_full
from knet.base.storage import open_store
from pipeline.config.config import Config
from pipeline.kubeflow.run_state import NODE_VARIABLE, REGISTRY_VARIABLE, run_id
from pipeline.runners.console import user_message

MAY_FAIL_VARIABLE: Final = "KNET_MAY_FAIL"  # environment variable of a container that records its failure
RETRY: Final = "retry_after"  # parameter of a candidate's node: id of the last run in which it failed, or ""
_METADATA: Final = "failure"  # of an artifact: a CandidateFailure as JSON
_FILE: Final = "FAILED.json"  # content of an artifact that has no other


@dataclass(frozen=True)
class CandidateFailure:
    """Failure of a candidate's node.

    Attributes:
        node: name of the node.
        error: message of the error.
        run: Kubeflow's id of the run.
    """

    node: str
    error: str
    run: str

    @property
    def candidate(self) -> str:
        """Name of the candidate."""
        return node_ids.candidate(self.node)

    @property
    def why(self) -> str:
        """Node and error in one line."""
        return f"{self.node}: {self.error}"


def candidate_nodes(config: Config) -> list[str]:
    """Return the names of the nodes that belong to one candidate."""
    tuners = [config.tuner_id(name) for name in config.searched_candidates]
    return [
        *(name for name in tuners if node_ids.candidate(name)),
        *map(node_ids.trainer, config.candidates),
        *map(node_ids.evaluator, config.candidates),
    ]


def retry_output(node: str) -> str:
    """Return the name of RunStart's output for the parameter `RETRY` of a node."""
    return f"retry_{node.replace('-', '_').lower()}"


def failure_to_record(error: Exception) -> CandidateFailure | None:
    """Return the failure of this container, or None if the error must end the run, as a full disk does."""
    message = user_message(error)
    if message is None or disk_full(error) or not os.environ.get(MAY_FAIL_VARIABLE):
        return None
    return CandidateFailure(os.environ[NODE_VARIABLE], message, run_id())


def record_failure(failure: CandidateFailure, outputs: Mapping[str, Iterable[Any]]) -> None:
    """Record a failure in the metadata of the output artifacts, whose contents are removed.

    Args:
        failure: of this node, or of one above it.
        outputs: TFX artifacts with local paths, by name.
    """
    text = json.dumps(asdict(failure))
    for artifact in (artifact for artifacts in outputs.values() for artifact in artifacts):
        path = Path(artifact.uri)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, exist_ok=True)
        (path / _FILE).write_text(text, encoding="utf-8")
        artifact.set_string_custom_property(_METADATA, text)


def recorded_failure(metadata: Mapping[str, Any]) -> CandidateFailure | None:
    """Return the failure in the metadata of an artifact, or None."""
    return CandidateFailure(**json.loads(metadata[_METADATA])) if _METADATA in metadata else None


def split_failed_inputs(message: dict[str, Any]) -> tuple[dict[str, Any], list[CandidateFailure]]:
    """Return an ExecutorInput without the input artifacts that record failures, and these failures."""
    failures = []
    remaining = {}
    artifacts = message.get("inputs", {}).get("artifacts", {})
    for name, held in artifacts.items():
        found = [recorded_failure(artifact.get("metadata", {})) for artifact in held.get("artifacts", [])]
        if failed := [failure for failure in found if failure]:
            failures += failed
        else:
            remaining[name] = held
    if failures:
        message = {**message, "inputs": {**message["inputs"], "artifacts": remaining}}
    return message, failures


def save_for_retry(failure: CandidateFailure) -> None:
    """Save a failure in the run registry, so that the next run does not get this node from the cache."""
    open_store(os.environ[REGISTRY_VARIABLE]).write(
        f"failed/{failure.node}.json", json.dumps(asdict(failure)).encode()
    )


def last_failures(location: str) -> dict[str, CandidateFailure]:
    """Read the last failure of each candidate's node, by name of the node.

    Args:
        location: folder or URI for failures.
    """
    store = open_store(location)
    contents = [store.read(name) for name in store.names("failed/")]
    failures = [CandidateFailure(**json.loads(content)) for content in contents if content is not None]
    return {failure.node: failure for failure in failures}
