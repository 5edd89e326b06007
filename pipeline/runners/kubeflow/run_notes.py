"""What the containers of one run tell each other by the run registry: how it began, and what failed.

The last container, which runs after a failure too, is given no output of others by Kubeflow.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pipeline.errors import UserError
from pipeline.runners.beginning import Beginning, read_beginning
from pipeline.runners.user_message import user_message
from pipeline.store.open_store import open_store

# Variables of every container.
RUN: Final = "KFP_RUN_ID"  # Kubeflow's id of the run
NODE: Final = "KNET_NODE"  # the node's name
REGISTRY: Final = "KNET_REGISTRY"  # where failures are noted


@dataclass(frozen=True)
class Failure:
    """Why a node failed."""

    node: str
    error: str
    user_error: bool  # whether the user can mend it


def note_beginning(place: Path | str, beginning: Beginning) -> None:
    """Notes how this run began."""
    open_store(place).write(f"starts/{_run()}.json", beginning.to_json().encode())


def beginning_of_run(place: Path | str) -> Beginning | None:
    """What was noted, or None where this run did not come so far."""
    text = open_store(place).read(f"starts/{_run()}.json")
    return None if text is None else read_beginning(text)


def note_failure(error: Exception) -> None:
    """Notes why this container fails; that this cannot be noted is no other failure, and is told alone."""
    place, node = os.environ.get(REGISTRY), os.environ.get(NODE)
    if not place or not node:
        return
    message = user_message(error)
    text = message or f"{type(error).__name__}: {error}"
    failure = Failure(node, text, user_error=message is not None)
    try:
        open_store(place).write(f"failures/{_run()}/{node}.json", json.dumps(asdict(failure)).encode())
    except Exception as problem:
        print(f"why it failed could not be noted in {place}: {problem}", file=sys.stderr)


def failures_of_run(place: Path | str) -> list[Failure]:
    """What was noted of this run, by name of node."""
    store = open_store(place)
    contents = [store.read(name) for name in store.names(f"failures/{_run()}/")]
    return [Failure(**json.loads(content)) for content in contents if content is not None]


def _run() -> str:
    try:
        return os.environ[RUN]
    except KeyError:
        raise UserError(
            f"{RUN} is not set: submit the whole file that knet kubeflow compile wrote, of two documents"
        ) from None
