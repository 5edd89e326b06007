"""MLMD of local runs: connection to the database, and executions with their output artifacts."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from knet.base.errors import UserError
from knet.runs.record import Execution, OutputArtifact
from knet.runs.workspace import Workspace
from pipeline.config.config import Config, MetadataConfig

_LOCK_SECONDS = 1.0  # between two attempts to use a database file
_ANSWER_SECONDS = 10.0  # timeout of a connection
_TABLES_SECONDS = 60.0  # timeout for another run to create the tables, which takes about one second


def open_metadata(config: Config, *, notify: Callable[[str], object] = str) -> pb.ConnectionConfig:
    """Connect to the MLMD database, create its tables if they are missing, and return its connection config.

    The config holds the password of a server and must not be logged or written.

    Args:
        config: the experiment; without a `metadata` section the database is a SQLite file below `output`.
        notify: receives a line before a wait for another process.

    Raises:
        UserError: the database file is damaged; the server cannot be reached, or rejects the login; or
            `output` has artifacts of another database.
    """
    workspace = Workspace(config.output.resolve())
    numbers = _numbers(workspace.artifacts)  # before the database is asked: another run may add some
    if config.metadata is None:
        workspace.root.mkdir(parents=True, exist_ok=True)
        _check_file(workspace.metadata, notify)
        mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        connection = pb.ConnectionConfig(
            sqlite={"filename_uri": str(workspace.metadata), "connection_mode": mode}
        )
        store = mlmd.MetadataStore(connection)
    else:
        _check_server(config.metadata)
        connection = pb.ConnectionConfig(mysql=_mysql(config.metadata))
        store = _connect(connection, config.metadata)
    _check_numbers(numbers, store, workspace.artifacts)
    return connection


def unfinished_executions(connection: pb.ConnectionConfig) -> list[int]:
    """Return the ids of executions that run or whose process was killed."""
    states = (pb.Execution.NEW, pb.Execution.RUNNING)
    executions = mlmd.MetadataStore(connection).get_executions()
    return [execution.id for execution in executions if execution.last_known_state in states]


def without_password(connection: pb.ConnectionConfig) -> pb.ConnectionConfig:
    """Return a copy without the password, which may be logged."""
    shown = pb.ConnectionConfig()
    shown.CopyFrom(connection)
    if shown.HasField("mysql"):
        shown.mysql.ClearField("password")
    return shown


def _check_file(file: Path, notify: Callable[[str], object]) -> None:
    """Check a SQLite file, if it exists, and wait while another process holds it, as MLMD does in silence.

    Raises:
        UserError: the file cannot be used, or is damaged.
    """
    told = False
    while file.is_file():
        try:
            with closing(
                sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=_LOCK_SECONDS)
            ) as database:
                database.execute("BEGIN IMMEDIATE").execute("ROLLBACK")
                (problem,) = database.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            problem = str(error)
        if problem == "ok":
            return
        if "locked" not in problem:
            raise UserError(
                f"{file}: not usable as MLMD database ({' '.join(problem.split())}); restore it, or move it "
                f"and {file.with_name('artifacts')} away: then every node runs again"
            )
        if not told:
            notify(f"waiting for {file}: another process holds it")
            told = True


def _check_server(section: MetadataConfig) -> None:
    """Check that the server accepts connections; MLMD reports no reason if it does not.

    Raises:
        UserError: there is no server at `metadata.host` and `metadata.port`.
    """
    try:
        socket.create_connection((section.host, section.port), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"metadata.host: no server at {_place(section)} ({error}); start it, or correct metadata.host "
            "and metadata.port"
        ) from None


def _mysql(section: MetadataConfig) -> pb.MySQLDatabaseConfig:
    password = os.environ.get(section.password_variable)
    if password is None:
        raise UserError(
            f"metadata.password_variable: the environment variable {section.password_variable} is not set; "
            f"put the password of {section.user} at {_place(section)} there"
        )
    return pb.MySQLDatabaseConfig(
        # To MySQL's client the name localhost means a socket file, not this port.
        host="127.0.0.1" if section.host == "localhost" else section.host,
        port=section.port,
        database=section.database,
        user=section.user,
        password=password,
        skip_db_creation=True,  # a mistyped name would be a new database, and nothing would be cached
    )


def _connect(connection: pb.ConnectionConfig, section: MetadataConfig) -> mlmd.MetadataStore:
    """Connect; MLMD creates missing tables."""
    waiting_ends = time.monotonic() + _TABLES_SECONDS
    while True:
        try:
            return mlmd.MetadataStore(connection)
        except RuntimeError as error:
            reason = str(error)
        making = "concurrent connection" in reason or "aborted" in reason  # another run, just now
        if not making or time.monotonic() > waiting_ends:
            raise UserError(_explain(reason, section))
        time.sleep(0.2)


def _explain(reason: str, section: MetadataConfig) -> str:
    if "mysql_real_connect" in reason:
        return (
            f"metadata.user: {_place(section)} does not let {section.user} in; correct metadata.user, or the "
            f"password in {section.password_variable}; the account must use mysql_native_password, as MLMD "
            "knows no other way"
        )
    if "Changing to database" in reason:
        return (
            f"metadata.database: there is no {section.database} at {_place(section)} that {section.user} can "
            f"use; create the database, and grant {section.user} all rights on it"
        )
    return f"metadata: {_place(section)} is not usable for MLMD: {' '.join(reason.split())}"


def _numbers(artifacts: Path) -> list[int]:
    """Return the ids of executions with artifacts, from paths `<node>/<output>/<execution>`."""
    return [int(folder.name) for folder in artifacts.glob("*/*/*") if folder.name.isdecimal()]


def _check_numbers(numbers: Sequence[int], store: mlmd.MetadataStore, artifacts: Path) -> None:
    """Check that no new execution can get the id, and so the folder, of an earlier one's artifacts.

    Raises:
        UserError: artifacts exist with higher ids than the database has given out.
    """
    newest = store.get_executions(mlmd.ListOptions(limit=1, order_by=mlmd.OrderByField.ID, is_asc=False))
    last = newest[0].id if newest else 0
    if max(numbers, default=0) > last:
        raise UserError(
            f"output: {artifacts} has artifacts of another MLMD database, from executions to {max(numbers)}, "
            f"which new ones would overwrite, as the last execution here is {last}; name another output, or "
            "remove that folder"
        )


def _place(section: MetadataConfig) -> str:
    return f"{section.host}:{section.port}"


_OUTPUT_EVENTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)


def read_execution(connection: pb.ConnectionConfig, execution_id: int) -> Execution:
    """Read an execution; a cached one has the outputs of the execution whose results it reuses."""
    from tfx.orchestration.metadata import Metadata  # slow to import

    with Metadata(connection) as metadata:  # which retries aborted MySQL transactions
        store = metadata.store
        (execution,) = store.get_executions_by_id([execution_id])
        events = [e for e in store.get_events_by_execution_ids([execution_id]) if e.type in _OUTPUT_EVENTS]
        artifacts = {a.id: a for a in store.get_artifacts_by_id([event.artifact_id for event in events])}
    outputs = {event.path.steps[0].key: _output(artifacts[event.artifact_id]) for event in events}
    return Execution(
        id=execution_id,
        cached=execution.last_known_state == pb.Execution.CACHED,
        outputs=outputs,
    )


def _output(artifact: pb.Artifact) -> OutputArtifact:
    properties = {
        name: getattr(value, value.WhichOneof("value")) for name, value in artifact.custom_properties.items()
    }
    return OutputArtifact(id=artifact.id, uri=Path(artifact.uri), properties=properties)
