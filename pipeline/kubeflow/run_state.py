"""State that the containers of one run share through the run registry: the run's context and its failures.

Kubeflow gives no outputs of a failed graph to the container that runs at its exit, so that container reads
them from the registry.
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

# Environment variables of every container.
RUN_ID_VARIABLE: Final = "KFP_RUN_ID"  # Kubeflow's id of the run
NODE_VARIABLE: Final = "KNET_NODE"  # name of the node
REGISTRY_VARIABLE: Final = "KNET_REGISTRY"  # folder or URI for failures


@dataclass(frozen=True)
class Failure:
    """Error that ended a node.

    Attributes:
        node: name of the node.
        error: message of the error.
        user_error: whether the user can fix it.
    """

    node: str
    error: str
    user_error: bool


def save_run_context(location: Path | str, context: RunContext) -> None:
    """Save the context of this run.

    Args:
        location: folder or URI that holds the run registry.
        context: of the run whose id is in the environment.
    """
    open_store(location).write(f"starts/{run_id()}.json", context.to_json().encode())


def read_run_context(location: Path | str, *, run: str | None = None) -> RunContext | None:
    """Read the context of a run; None if its first node did not save one.

    Args:
        location: folder or URI that holds the run registry.
        run: Kubeflow's id of the run. Default: that of this container.
    """
    text = open_store(location).read(f"starts/{run or run_id()}.json")
    if text is None:
        return None
    from pipeline.runners.lifecycle import load_run_context  # takes seconds to import

    return load_run_context(text)


def save_failure(error: Exception) -> None:
    """Save the error that ends this container, if the environment names node and registry.

    A failure to save is printed, not raised.
    """
    location, node = os.environ.get(REGISTRY_VARIABLE), os.environ.get(NODE_VARIABLE)
    if not location or not node:
        return
    message = user_message(error)
    text = message or f"{type(error).__name__}: {error}"
    failure = Failure(node, text, user_error=message is not None)
    try:
        open_store(location).write(f"failures/{run_id()}/{node}.json", json.dumps(asdict(failure)).encode())
    except Exception as problem:
        print(f"the failure could not be saved in {location}: {problem}", file=sys.stderr)


def read_failures(location: Path | str) -> list[Failure]:
    """Read the failures of this run, in the order of the nodes' names."""
    store = open_store(location)
    contents = [store.read(name) for name in store.names(f"failures/{run_id()}/")]
    return [Failure(**json.loads(content)) for content in contents if content is not None]


def run_id() -> str:
    """Return Kubeflow's id of the run.

    Raises:
        UserError: the environment has none.
    """
    try:
        return os.environ[RUN_ID_VARIABLE]
    except KeyError:
        raise UserError(
            f"{RUN_ID_VARIABLE} is not set: submit the whole file that knet kubeflow compile wrote, of two "
            "documents"
        ) from None


@contextmanager
def log_failure_and_exit() -> Iterator[None]:
    """Exit with code 1 after an exception, which is saved and is the last line of the log."""
    signal.signal(signal.SIGTERM, _exit_by_signal)
    try:
        yield
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        try:
            save_failure(error)
        finally:
            for handler in logging.getLogger().handlers:
                handler.flush()
            print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def _exit_by_signal(number: int, frame: Any) -> NoReturn:
    """Exit in the time that Kubernetes leaves a container between SIGTERM and SIGKILL."""
    print("error: stopped by SIGTERM", file=sys.stderr, flush=True)
    raise SystemExit(128 + number)
