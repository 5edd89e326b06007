"""Tests of `knet serve` as a process and of its options."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from knet.base.errors import UserError
from knet.serving.dev_server.ports import listen
from pipeline.commands.main import cli

_KNET = [sys.executable, "-c", "from pipeline.commands.main import main; main()"]


@pytest.mark.slow
def test_serve_answers_until_sigterm(base_path: Path, tmp_path: Path) -> None:
    models = tmp_path / "knet"
    shutil.copytree(base_path / "7", models / "7")
    process = subprocess.Popen(
        [*_KNET, "serve", str(models), "--port=0", "--rest-port=0"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    lines = [process.stdout.readline() for _ in range(5)]
    assert lines[0] == f"loading TensorFlow; its messages are in {tmp_path / 'serve.log'}\n"
    assert lines[1] == "version 7 of knet is available\n", process.stderr.read()
    assert lines[2] == "development server, not TF Serving: knet version 7\n"
    metrics = re.search(r"metrics on (http://\S+)", lines[3])
    assert metrics is not None
    assert lines[4] == "ready; stop it with Ctrl-C or SIGTERM\n"
    status = metrics[1].replace("/monitoring/prometheus/metrics", "/v1/models/knet/labels/stable/metadata")
    with urllib.request.urlopen(status) as reply:
        assert b'"version": "7"' in reply.read()
    with urllib.request.urlopen(metrics[1]) as reply:
        assert b"load_attempt_count" in reply.read()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "stopped\n", "")
    log = (tmp_path / "serve.log").read_text()
    assert "tensorflow" in log and "Traceback" not in log


_SLOW_LOAD = """
import time
from knet.serving.dev_server import models
load = models._load
models._load = lambda folder, **options: time.sleep(600) if folder.name == "8" else load(folder, **options)
from pipeline.commands.main import main
main()
"""


@pytest.mark.slow
def test_serve_stops_while_a_version_loads(base_path: Path, tmp_path: Path) -> None:
    models = tmp_path / "knet"
    shutil.copytree(base_path / "7", models / "7")
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW_LOAD, "serve", str(models), "--port=0", "--rest-port=0"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = re.search(r"metrics on (http://[^/]+)", "".join(process.stdout.readline() for _ in range(5)))
    assert address is not None
    shutil.copytree(base_path / "7", tmp_path / "8")
    (tmp_path / "8").rename(models / "8")
    deadline = time.monotonic() + 60
    while b"LOADING" not in urllib.request.urlopen(f"{address[1]}/v1/models/knet").read():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not a folder"),
        ([".", "--tls-cert=a"], "--tls-cert and --tls-key go together"),
        ([".", "--require-token"], "environment variable KNET_TOKEN"),
        ([".", "--config=nowhere"], r"cannot read .*nowhere/batching_parameters\.txt"),
    ],
)
def test_serve_wrong_options_are_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KNET_TOKEN", raising=False)
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(cli, ["serve", *arguments], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--port", "--rest-port"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_serve_refuses_a_port_in_use_before_it_loads(
    option: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "knet.serving.dev_server.server", None)  # importing it fails
    with listen(host, 0) as used:
        port = used.getsockname()[1]
        arguments = [str(tmp_path), f"--host={host}", "--port=0", "--rest-port=0", f"{option}={port}"]
        with pytest.raises(UserError, match=rf"cannot listen on \S+:{port}: the port is in use"):
            CliRunner().invoke(cli, ["serve", *arguments], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_serve_tf_serving_with_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNET_TOKEN", "swordfish")
    with pytest.raises(UserError, match="TF Serving has no tokens"):
        CliRunner().invoke(
            cli, ["serve", str(tmp_path), "--engine=tf-serving", "--require-token"], catch_exceptions=False
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "arguments", "warns"),
    [
        ("0.0.0.0", [], True),
        ("0.0.0.0", ["--require-token"], False),
        *((host, [], False) for host in ("127.0.0.1", "localhost", "::1")),
    ],
)
def test_serve_warns_of_a_public_address(
    host: str, arguments: list[str], warns: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNET_TOKEN", "swordfish")
    command = ["serve", str(tmp_path), f"--host={host}", "--config=nowhere", *arguments]
    result = CliRunner().invoke(cli, command)
    assert (f"warning: whoever reaches {host} can use the server" in result.output) == warns
