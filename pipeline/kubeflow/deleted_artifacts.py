"""Artifacts that were deleted from the object store: found by the node that reads them, made by the next run.

Kubeflow's cache answers a node whose outputs are gone, and the launcher then downloads nothing. So the
entrypoint counts the files of each output into the artifact's metadata, and a node compares its inputs with
them before it starts. A node that misses files starts a new cache generation in the run registry. `RunStart`
outputs the generation, a parameter of every node: with a new one, no node is answered from the cache.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from knet.base.digests import text_digest
from knet.base.errors import UserError
from knet.base.storage import open_store
from pipeline.kubeflow.artifact_uris import launcher_path
from pipeline.kubeflow.candidate_failures import split_failed_inputs
from pipeline.kubeflow.run_state import NODE_VARIABLE, REGISTRY_VARIABLE, run_id

FILES: Final = "files"  # metadata of an artifact: number of its files
GENERATION: Final = "cache_generation"  # output of RunStart and parameter of every cached node
_FOLDER = "generations"  # of the registry


def count_files(path: Path) -> int:
    """Return the number of files of an artifact: those of a folder, or 1 for a file."""
    return 1 if path.is_file() else sum(file.is_file() for file in path.rglob("*"))


def check_inputs(message: Mapping[str, Any]) -> None:
    """Compare the input artifacts with the number of files that their metadata state.

    Args:
        message: the ExecutorInput as parsed JSON, with URIs of the object store.

    Raises:
        UserError: files are missing; the message names the inputs and their URIs. The next run has a new
            cache generation.
    """
    missing = []
    message, _ = split_failed_inputs(dict(message))
    for name, held in message.get("inputs", {}).get("artifacts", {}).items():
        for artifact in held["artifacts"]:
            expected = int(artifact.get("metadata", {}).get(FILES, 0))
            found = count_files(launcher_path(artifact["uri"]))
            if found < expected:
                missing.append(f"{name} ({found} of {expected} files at {artifact['uri']})")
    if not missing:
        return
    error = UserError(
        f"input artifacts were deleted from the object store: {', '.join(missing)}; submit the run again, "
        "which then runs every node"
    )
    try:
        start_cache_generation(os.environ[REGISTRY_VARIABLE], reason=str(error))
    except Exception as problem:
        raise error from problem
    raise error


def start_cache_generation(location: Path | str, *, reason: str) -> None:
    """Start a new cache generation, one for each run at most.

    Args:
        location: folder or URI that holds the run registry.
        reason: for people who read the file.
    """
    name = f"{_FOLDER}/{run_id()}/{os.environ[NODE_VARIABLE]}.json"
    open_store(location).write(name, json.dumps({"reason": reason}).encode())


def cache_generation(location: Path | str) -> str:
    """Return the current cache generation: a digest of the runs that started one, or "" if none did."""
    names = open_store(location).names(f"{_FOLDER}/")
    runs = sorted({name.split("/")[1] for name in names})
    return text_digest(*runs) if runs else ""
