"""The run in progress on an output folder: its lock, its state, and the record of one that was stopped.

Two files below the output folder belong to it: `run.lock`, which the process of the run holds for its whole
life, and `run.json`, the state of the run. A run that was killed leaves `run.json` behind without a holder of
the lock; the next run records it as interrupted.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone

from knet.base.errors import UserError
from knet.base.files import atomic_write, read_json
from knet.runs.record import (
    FAILED,
    INTERRUPTED,
    RUNNING,
    NodeRecord,
    RunRecord,
    new_run_id,
    parse_record,
    to_json,
)
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace

PREFLIGHT, REPORT = "preflight", "the report"  # phases of a run before and after its nodes


@dataclass(frozen=True)
class RunState:
    """State of the run in progress, or of one that was killed.

    Attributes:
        run_id: its id.
        started: ISO 8601, UTC.
        host: name of its machine.
        pid: its process.
        phase: node that runs, or PREFLIGHT or REPORT.
        record: what is known of it; None until its data are checked.
    """

    run_id: str
    started: str
    host: str
    pid: int
    phase: str = PREFLIGHT
    record: RunRecord | None = None


class ActiveRun:
    """The run of this process, which holds the lock of its output folder."""

    def __init__(self, workspace: Workspace, *, phase: str) -> None:
        """Describe the run to other processes; use `lock_output`, which holds the lock."""
        self.started = datetime.now(timezone.utc)
        self._registry = RunRegistry(workspace.registry)
        self._file = workspace.run_state
        self._phase_started = time.monotonic()
        self._state = RunState(
            run_id=new_run_id(self.started),
            started=self.started.isoformat(timespec="seconds"),
            host=socket.gethostname(),
            pid=os.getpid(),
            phase=phase,
        )
        self._write()

    def begin(self, record: RunRecord) -> None:
        """Set what is known of the run before its first node."""
        self._update(record=replace(record, state=RUNNING))

    def enter(self, phase: str) -> None:
        """Set the node that runs, or REPORT."""
        self._phase_started = time.monotonic()
        self._update(phase=phase)

    def leave(self, node: NodeRecord) -> None:
        """Add a node that ended."""
        if record := self._state.record:
            self._update(record=replace(record, nodes=(*record.nodes, node)))

    def interrupt(self, signal_name: str) -> str:
        """Record the run as interrupted, and return the message for the user."""
        self._update(record=self._state.record and self._with_running_node(self._state.record))
        _record_end(
            self._state, self._registry, INTERRUPTED, f"stopped in {self._state.phase} by {signal_name}"
        )
        self.close()
        return f"stopped in {self._state.phase}; the same command continues there"

    def fail(self, error: Exception) -> None:
        """Record the run as failed outside its nodes."""
        is_user_error = isinstance(error, UserError)
        reason = str(error) if is_user_error else f"{type(error).__name__}: {error}"
        _record_end(
            self._state, self._registry, FAILED, f"{self._state.phase}: {reason}", user_error=is_user_error
        )

    def close(self) -> None:
        """Delete the state of the run, whose record is written."""
        self._file.unlink(missing_ok=True)

    def _with_running_node(self, record: RunRecord) -> RunRecord:
        if self._state.phase in (PREFLIGHT, REPORT, *(node.node for node in record.nodes)):
            return record
        seconds = round(time.monotonic() - self._phase_started, 1)
        return replace(record, nodes=(*record.nodes, NodeRecord(self._state.phase, INTERRUPTED, seconds)))

    def _update(self, **fields: object) -> None:
        self._state = replace(self._state, **fields)  # type: ignore[arg-type]
        self._write()

    def _write(self) -> None:
        atomic_write(self._file, to_json(asdict(self._state)))


_WAIT_SECONDS = 1.0  # `is_running` holds the lock for less


@contextmanager
def lock_output(workspace: Workspace, *, phase: str = PREFLIGHT) -> Iterator[ActiveRun]:
    """Hold the lock of an output folder, on which one run works at a time.

    A run that ends without a record, by an exception, is recorded as failed. A former run that was killed is
    recorded as interrupted.

    Args:
        workspace: of the output folder, which is created.
        phase: of the run that begins.

    Raises:
        UserError: another run holds the lock, or the folder cannot be written to.
    """
    folder = str(workspace.root.resolve())
    if pattern := set(folder) & set("*?[]"):
        raise UserError(
            f"output: {folder} contains {' '.join(sorted(pattern))}, which TFX reads as a pattern of file "
            "names; choose another output folder"
        )
    try:
        workspace.root.mkdir(parents=True, exist_ok=True)
        file = workspace.run_lock.open("a")
    except OSError as error:
        raise UserError(
            f"cannot write {workspace.run_lock}: {error.strerror}; choose another output folder"
        ) from None
    with file:
        if not _try_lock(file.fileno(), seconds=_WAIT_SECONDS):
            raise UserError(_busy(workspace))
        _record_killed(workspace)
        run = ActiveRun(workspace, phase=phase)
        try:
            yield run
        except Exception as error:
            run.fail(error)
            run.close()
            raise
        except KeyboardInterrupt:
            run.interrupt("SIGINT")
            raise
        run.close()


def _try_lock(descriptor: int, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)


def _busy(workspace: Workspace) -> str:
    state = read_run_state(workspace)
    if state is None:
        return f"output: another run works in {workspace.root}; wait until it ends, or name another output"
    return (
        f"output: run {state.run_id} works in {workspace.root} (process {state.pid} on {state.host}, in "
        f"{state.phase}); wait until it ends, or name another output"
    )


def _record_killed(workspace: Workspace) -> None:
    """Record the run that was killed last, if any, as interrupted."""
    state = read_run_state(workspace)
    if state is not None:
        _record_end(state, RunRegistry(workspace.registry), INTERRUPTED, f"killed in {state.phase}")
        workspace.run_state.unlink()


def _record_end(
    state: RunState, registry: RunRegistry, end: str, error: str, *, user_error: bool = False
) -> None:
    """Record the end of a run, unless it had not begun or has its record."""
    if state.record is not None and state.record.run_id not in registry.runs():
        registry.record(replace(state.record, state=end, error=error, user_error=user_error))


def read_run_state(workspace: Workspace) -> RunState | None:
    """Return the state of the run in progress, or of one that was killed; None if there is neither.

    Raises:
        UserError: the file is damaged, or of another version.
    """
    file = workspace.run_state
    remedy = "delete it, once no run works in its folder"
    tree = read_json(file, remedy=remedy)
    if tree is None:
        return None
    try:
        record = tree.pop("record")
        return RunState(**tree, record=record and parse_record(record, file))
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"{file}: not the state of a run by this version; {remedy}") from None


def is_running(workspace: Workspace) -> bool:
    """Return whether a run holds the lock of an output folder."""
    try:
        with workspace.run_lock.open("r") as file:
            return not _try_lock(file.fileno(), seconds=0)
    except FileNotFoundError:
        return False
