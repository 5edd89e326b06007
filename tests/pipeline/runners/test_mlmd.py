"""The MLMD database of a configuration: a SQLite file, or MariaDB."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from knet.base.errors import UserError
from pipeline.config.config import Config
from pipeline.config.explain import dump_config
from pipeline.config.load import load_config
from pipeline.runners.mlmd import open_metadata, without_password

_VARIABLE = "KNET_METADATA_PASSWORD"
_REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An output folder that is relative is not that of a run made in the checkout."""
    monkeypatch.chdir(tmp_path)


def config_of(*settings: str) -> Config:
    return load_config("demo", settings)


@pytest.fixture
def password(mariadb: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(_VARIABLE, mariadb.password)
    return str(mariadb.password)


def refusal(config: Config) -> str:
    with pytest.raises(UserError) as refused:
        open_metadata(config)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_open_metadata_without_a_section_uses_sqlite(tmp_path: Path) -> None:
    connection = open_metadata(config_of(f"output={tmp_path / 'new'}"))
    assert mlmd.MetadataStore(connection).get_artifact_types() == []
    assert (tmp_path / "new" / "metadata.sqlite").is_file()
    assert without_password(connection) == connection


@pytest.mark.usefixtures("password")
def test_open_metadata_stores_on_the_server(mariadb: Any) -> None:
    config = config_of(*mariadb.settings("opened"))
    mlmd.MetadataStore(open_metadata(config)).put_artifact_type(pb.ArtifactType(name="Stored"))
    assert [t.name for t in mlmd.MetadataStore(open_metadata(config)).get_artifact_types()] == ["Stored"]


@pytest.mark.usefixtures("password")
def test_open_metadata_connects_to_localhost_by_tcp(mariadb: Any) -> None:
    open_metadata(config_of(*mariadb.settings("opened"), "metadata.host=localhost"))


def test_without_password_keeps_the_user_only(mariadb: Any, password: str) -> None:
    config = config_of(*mariadb.settings("opened"))
    connection = open_metadata(config)
    assert connection.mysql.password == password
    assert password not in str(without_password(connection))
    assert without_password(connection).mysql.user == mariadb.user
    assert password not in dump_config(config) + repr(config)


def test_open_metadata_with_an_unset_variable_names_it(mariadb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KNET_OTHER", raising=False)
    config = config_of(*mariadb.settings("opened"), "metadata.password_variable=KNET_OTHER")
    assert refusal(config).startswith("metadata.password_variable: the environment variable KNET_OTHER")


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_open_metadata_without_a_server_names_its_address(host: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nothing listens
        port = unused.getsockname()[1]
        text = refusal(config_of(f"metadata.host={host}", f"metadata.port={port}"))
    assert text.startswith(f"metadata.host: no server at {host}:{port} (")


@pytest.mark.parametrize(("variable", "user"), [("wrong", "knet"), ("", "knet"), ("wrong", "nobody")])
def test_open_metadata_with_wrong_credentials_names_the_user(
    mariadb: Any, monkeypatch: pytest.MonkeyPatch, variable: str, user: str
) -> None:
    monkeypatch.setenv(_VARIABLE, variable)
    text = refusal(config_of(*mariadb.settings("opened"), f"metadata.user={user}"))
    assert text.startswith(f"metadata.user: 127.0.0.1:{mariadb.port} does not let {user} in;")


@pytest.mark.usefixtures("password")
def test_open_metadata_does_not_create_a_missing_database(mariadb: Any) -> None:
    config = config_of(*mariadb.settings("mistyped"))
    for _ in range(2):
        place = f"127.0.0.1:{mariadb.port}"
        assert refusal(config).startswith(f"metadata.database: there is no mistyped at {place} that knet can")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (["metadata={}"], "metadata.host"),
        (["metadata.host=db", "metadata.password=hunter2"], "metadata.password: no such field"),
        (["metadata.host=db", "metadata.database='a;b'"], "metadata.database"),
        (["metadata.host=db", "metadata.port=70000"], "metadata.port"),
    ],
)
def test_metadata_settings_out_of_range_are_refused(settings: Sequence[str], field: str) -> None:
    with pytest.raises(UserError, match=field) as refused:
        config_of(*settings)
    assert "hunter2" not in str(refused.value)


def test_open_metadata_refuses_artifacts_of_another_database(tmp_path: Path) -> None:
    config = config_of(f"output={tmp_path}")
    (tmp_path / "artifacts" / "Pusher" / "pushed_model" / "2").mkdir(parents=True)
    store = mlmd.MetadataStore(
        pb.ConnectionConfig(sqlite={"filename_uri": str(tmp_path / "metadata.sqlite")})
    )
    kind = store.put_execution_type(pb.ExecutionType(name="Node"))
    store.put_executions([pb.Execution(type_id=kind)])
    assert refusal(config).startswith(
        f"output: {tmp_path / 'artifacts'} has artifacts of another MLMD database"
    )
    store.put_executions([pb.Execution(type_id=kind)])
    open_metadata(config)


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_open_metadata_of_a_damaged_file_names_it(tmp_path: Path, damage: str) -> None:
    config = config_of(f"output={tmp_path}")
    open_metadata(config)
    file = tmp_path / "metadata.sqlite"
    content = file.read_bytes()
    file.write_bytes(b"x" * 5000 if damage == "garbage" else content[: len(content) // 2])
    text = refusal(config)
    assert text.startswith(f"{file}: not usable as MLMD database (")
    assert f"move it and {tmp_path / 'artifacts'} away" in text


_HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""


def test_open_metadata_tells_that_it_waits(tmp_path: Path) -> None:
    config = config_of(f"output={tmp_path}")
    open_metadata(config)
    file = tmp_path / "metadata.sqlite"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, file], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout and holder.stdin and holder.stdout.readline() == "held\n"
    told = []

    def release(message: str) -> None:
        told.append(message)
        holder.communicate("\n")

    open_metadata(config, notify=release)
    assert told == [f"waiting for {file}: another process holds it"]


@pytest.mark.usefixtures("password")
def test_open_metadata_creates_tables_in_concurrent_processes(mariadb: Any, tmp_path: Path) -> None:
    code = (
        "import sys; from pipeline.config.load import load_config\n"
        "from pipeline.runners.mlmd import open_metadata\n"
        "config = load_config('demo', sys.argv[1:])\n"
        "print('ready', flush=True); input(); open_metadata(config)"
    )
    command = [sys.executable, "-c", code, *mariadb.settings("raced"), f"output={tmp_path}"]
    runs = [
        subprocess.Popen(
            command, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.write(b"\n")
        run.stdin.flush()
    endings = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, endings
