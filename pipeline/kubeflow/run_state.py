"""What the containers of one run tell each other by the run registry: how it began, and what failed.

The last container, which runs after a failure too, is given no output of others by Kubeflow.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from knet.base.errors import UserError
from knet.base.storage import open_store
from pipeline.runners.console import user_message

if TYPE_CHECKING:
    from pipeline.runners.lifecycle import RunContext

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


def save_run_context(place: Path | str, beginning: RunContext) -> None:
    """Notes how this run began."""
    open_store(place).write(f"starts/{_run()}.json", beginning.to_json().encode())


def read_run_context(place: Path | str) -> RunContext | None:
    """What was noted, or None where this run did not come so far."""
    text = open_store(place).read(f"starts/{_run()}.json")
    from pipeline.runners.lifecycle import load_run_context

    return None if text is None else load_run_context(text)


def save_failure(error: Exception) -> None:
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


def read_failures(place: Path | str) -> list[Failure]:
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


@contextmanager
def log_failure_and_exit() -> Iterator[None]:
    """Ends the process with code 1 where something fails; why is the log's last line, and is noted."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        try:
            # Here, since what notes are of, such as configurations, takes a while to import.

            save_failure(error)
        finally:
            for handler in logging.getLogger().handlers:
                handler.flush()
            print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def _stop(number: int, frame: Any) -> NoReturn:
    """Kubernetes stops a container by this signal and waits for a while: time to write out what is known."""
    print("error: stopped by SIGTERM", file=sys.stderr, flush=True)
    raise SystemExit(128 + number)
