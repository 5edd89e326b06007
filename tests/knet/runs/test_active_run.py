"""The lock of an output folder, and the records of runs that were stopped or killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from knet.base.errors import UserError
from knet.runs.active_run import REPORT, is_running, lock_output, read_run_state
from knet.runs.record import NodeRecord, RunRecord, read_record
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace

MakeRecord = Callable[..., RunRecord]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "out")


def recorded(workspace: Workspace) -> RunRecord:
    (file,) = RunRegistry(workspace.registry).runs().values()
    return read_record(file)


def test_lock_output_refuses_a_second_run(workspace: Workspace) -> None:
    with lock_output(workspace) as run:
        run.enter("Transform")
        state = read_run_state(workspace)
        assert state is not None and is_running(workspace)
        who = f"run {state.run_id} .*process {os.getpid()} on {socket.gethostname()}, in Transform"
        with pytest.raises(UserError, match=who), lock_output(workspace):
            pytest.fail("two runs at once")
        assert read_run_state(workspace) == state
    assert not is_running(workspace) and read_run_state(workspace) is None
    with lock_output(workspace):
        pass


def test_lock_output_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="choose another output folder"),
        lock_output(Workspace(tmp_path / "file")),
    ):
        pass


@pytest.mark.parametrize("name", ["runs[1]", "what?", "all*"])
def test_lock_output_refuses_a_folder_that_tfx_reads_as_a_pattern(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(UserError, match="output: .*TFX reads as a pattern"),
        lock_output(Workspace(tmp_path / name)),
    ):
        pass
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from run_records import run_record
from knet.runs.active_run import lock_output
from knet.runs.record import NodeRecord
from knet.runs.workspace import Workspace
from dataclasses import replace
with lock_output(Workspace(Path(sys.argv[1]))) as run:
    run.begin(replace(run_record(), run_id=run.started.strftime("%Y%m%d-%H%M%S-%f"), nodes=()))
    run.enter("StatisticsGen")
    run.leave(NodeRecord("StatisticsGen", "done", 2.5))
    run.enter("Transform")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_lock_output_records_a_killed_run(workspace: Workspace) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, workspace.root, ROOT / "tests" / "support"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    state = read_run_state(workspace)
    assert state is not None and not is_running(workspace)
    assert (state.phase, state.host) == ("Transform", socket.gethostname())
    with lock_output(workspace):
        record = recorded(workspace)
        assert (record.run_id, record.state) == (state.run_id, "interrupted")
        assert record.error == "killed in Transform"
        assert record.nodes == (NodeRecord("StatisticsGen", "done", 2.5),)


def begun(workspace: Workspace, make_record: MakeRecord, error: BaseException) -> None:
    """Run until an error in Transform."""
    with lock_output(workspace) as run:
        run.begin(make_record(run_id="1", nodes=()))
        run.enter("Transform")
        raise error


def test_lock_output_records_a_run_that_raises(workspace: Workspace, make_record: MakeRecord) -> None:
    with pytest.raises(OSError, match="disk full"):
        begun(workspace, make_record, OSError("disk full"))
    assert (recorded(workspace).state, recorded(workspace).error) == (
        "failed",
        "Transform: OSError: disk full",
    )
    assert (recorded(workspace).user_error, read_run_state(workspace)) == (False, None)


def test_lock_output_records_a_user_error_as_one(workspace: Workspace, make_record: MakeRecord) -> None:
    with pytest.raises(UserError):
        begun(workspace, make_record, UserError("file: damaged; delete it"))
    record = recorded(workspace)
    assert (record.error, record.user_error) == ("Transform: file: damaged; delete it", True)


def test_lock_output_records_an_interrupted_run(workspace: Workspace, make_record: MakeRecord) -> None:
    with pytest.raises(KeyboardInterrupt):
        begun(workspace, make_record, KeyboardInterrupt())
    record = recorded(workspace)
    assert (record.state, record.error) == ("interrupted", "stopped in Transform by SIGINT")
    assert [(node.node, node.state) for node in record.nodes] == [("Transform", "interrupted")]


def test_interrupt_tells_where_the_run_stopped(workspace: Workspace, make_record: MakeRecord) -> None:
    with lock_output(workspace) as run:
        assert run.interrupt("SIGTERM") == "stopped in preflight; the same command continues there"
    assert RunRegistry(workspace.registry).runs() == {}  # its data were not checked
    with lock_output(workspace) as run:
        run.begin(make_record(run_id="1"))
        run.enter(REPORT)
        assert run.interrupt("SIGTERM") == "stopped in the report; the same command continues there"
    assert recorded(workspace).nodes == make_record().nodes


def test_interrupt_between_nodes_adds_none(workspace: Workspace, make_record: MakeRecord) -> None:
    with lock_output(workspace) as run:
        run.begin(make_record(run_id="1", nodes=()))
        run.enter("Transform")
        run.leave(NodeRecord("Transform", "done", 2.5))
        run.interrupt("SIGINT")
    assert recorded(workspace).nodes == (NodeRecord("Transform", "done", 2.5),)


def test_lock_output_keeps_the_record_of_an_ended_run(workspace: Workspace, make_record: MakeRecord) -> None:
    record = make_record(run_id="1")
    with pytest.raises(ValueError, match="after"), lock_output(workspace) as run:
        run.begin(record)
        RunRegistry(workspace.registry).record(record)
        raise ValueError("after the record")
    assert recorded(workspace) == record


@pytest.mark.parametrize("content", ["", '{"run_id": "1"', "{}", '{"record": null}', "[]"])
def test_damaged_run_state_is_an_error(workspace: Workspace, content: str) -> None:
    workspace.root.mkdir()
    workspace.run_state.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json: .*delete it"), lock_output(workspace):
        pass
