"""The command line that starts TF Serving, with a program of that name on the PATH that writes it down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from knet.base.errors import UserError
from knet.serving.models_config import ModelServerConfig, SSLConfig, read_batching
from knet.serving.tf_serving import tf_serving_command

_NOTES = """#!{python}
import json, os, signal, sys, time
files = {{}}
for flag in sys.argv[1:]:
    name, _, value = flag.partition("=")
    if name.endswith("_file") and os.path.exists(value):
        files[name] = open(value).read()
json.dump({{"arguments": sys.argv[1:], "files": files}}, open({notes!r} + ".part", "w"))
os.rename({notes!r} + ".part", {notes!r})
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
time.sleep(30)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a program alone on the PATH that notes its arguments and what the files that they name hold."""

    def put(name: str) -> Path:
        folder, notes = tmp_path / "bin", tmp_path / "notes.json"
        folder.mkdir()
        (folder / name).write_text(_NOTES.format(python=sys.executable, notes=str(notes)))
        (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return notes

    return put


def served(tmp_path: Path) -> Path:
    version = tmp_path / "knet" / "7"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    return version.parent


def run_and_stop(notes: Path, *arguments: str) -> tuple[dict[str, Any], int]:
    """What the program noted, and the exit code of `knet serve` after SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from pipeline.commands.main import main; main()", "serve", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    for _ in range(400):
        if notes.exists():
            break
        time.sleep(0.05)
    noted = json.loads(notes.read_text("utf-8"))
    process.send_signal(signal.SIGTERM)
    return noted, process.wait(20)


def test_the_program_gets_the_files_that_the_development_server_reads(
    tmp_path: Path, program: Callable[[str], Path]
) -> None:
    notes = program("tensorflow_model_server")
    base = served(tmp_path)
    (tmp_path / "cert.pem").write_text("a certificate\n")
    (tmp_path / "key.pem").write_text("a key\n")
    noted, code = run_and_stop(
        *(notes, str(base), "--engine=tf-serving", "--port=1", "--rest-port=2"),
        *(f"--tls-cert={tmp_path / 'cert.pem'}", f"--tls-key={tmp_path / 'key.pem'}"),
    )
    assert code == 7  # SIGTERM was handed on, and the program's exit code handed back
    flags = dict(flag.split("=", 1) for flag in noted["arguments"])
    assert (flags["--port"], flags["--rest_api_port"], flags["--enable_batching"]) == ("1", "2", "true")
    assert int(flags["--model_config_file_poll_wait_seconds"]) > 0
    assert flags["--allow_version_labels_for_unavailable_models"] == "true"
    config = text_format.Parse(noted["files"]["--model_config_file"], ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("knet", str(base))
    assert dict(model.version_labels) == {"stable": 7, "canary": 7}
    assert read_batching(Path(flags["--batching_parameters_file"])).max_batch_size == 32
    assert "prometheus_config" in noted["files"]["--monitoring_config_file"]
    ssl = text_format.Parse(noted["files"]["--ssl_config_file"], SSLConfig())
    assert (ssl.server_key, ssl.server_cert, ssl.client_verify) == ("a key\n", "a certificate\n", False)
    assert not Path(flags["--ssl_config_file"]).exists()


def command(tmp_path: Path) -> list[str]:
    return tf_serving_command(
        models_config=tmp_path / "knet" / "models.config",
        batching=tmp_path / "config" / "batching_parameters.txt",
        monitoring=tmp_path / "config" / "monitoring.config",
        host="127.0.0.1",
        port=8500,
        rest_port=8501,
        image="tensorflow/serving:1.0",
    )


def test_without_the_program_its_image_is_used(tmp_path: Path, program: Callable[[str], Path]) -> None:
    program("podman")
    engine, *arguments = command(tmp_path)
    assert Path(engine).name == "podman" and arguments[0] == "run"
    image = arguments.index("tensorflow/serving:1.0")
    assert "--entrypoint=tensorflow_model_server" in arguments[:image]
    assert {"--publish=127.0.0.1:8500:8500", "--publish=127.0.0.1:8501:8501"} <= set(arguments[:image])
    for folder in ("knet", "config"):
        assert f"--volume={tmp_path / folder}:{tmp_path / folder}:ro" in arguments[:image]
    assert f"--model_config_file={tmp_path / 'knet' / 'models.config'}" in arguments[image:]


def test_without_either_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError, match="neither tensorflow_model_server nor docker nor podman is on the PATH"
    ):
        command(tmp_path)
