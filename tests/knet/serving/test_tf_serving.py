"""Tests of TF Serving's command line, with a fake binary on the PATH that records its arguments."""

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

_FAKE_BINARY = """#!{python}
import json, os, signal, sys
files = {{}}
for flag in sys.argv[1:]:
    name, _, value = flag.partition("=")
    if name.endswith("_file") and os.path.exists(value):
        files[name] = open(value).read()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
json.dump({{"arguments": sys.argv[1:], "files": files}}, open({record!r} + ".part", "w"))
os.rename({record!r} + ".part", {record!r})
signal.pause()
"""


@pytest.fixture
def fake_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a fake binary alone on the PATH; it records its arguments and the files they name."""

    def put(name: str) -> Path:
        folder, record = tmp_path / "bin", tmp_path / "record.json"
        folder.mkdir()
        (folder / name).write_text(_FAKE_BINARY.format(python=sys.executable, record=str(record)))
        (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return record

    return put


def served(tmp_path: Path) -> Path:
    version = tmp_path / "knet" / "7"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    return version.parent


def run_and_stop(record: Path, *arguments: str) -> tuple[dict[str, Any], int]:
    """Run `knet serve` until SIGTERM; return the fake binary's record and the exit code."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from pipeline.commands.main import main; main()", "serve", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    while not record.exists():
        assert process.poll() is None
        time.sleep(0.05)
    recorded = json.loads(record.read_text("utf-8"))
    process.send_signal(signal.SIGTERM)
    return recorded, process.wait(60)


def test_serve_tf_serving_passes_the_configuration_files(
    tmp_path: Path, fake_binary: Callable[[str], Path]
) -> None:
    record = fake_binary("tensorflow_model_server")
    base = served(tmp_path)
    (tmp_path / "cert.pem").write_text("a certificate\n")
    (tmp_path / "key.pem").write_text("a key\n")
    recorded, code = run_and_stop(
        *(record, str(base), "--engine=tf-serving", "--port=1", "--rest-port=2"),
        *(f"--tls-cert={tmp_path / 'cert.pem'}", f"--tls-key={tmp_path / 'key.pem'}"),
    )
    assert code == 7  # SIGTERM was forwarded, and the binary's exit code returned
    flags = dict(flag.split("=", 1) for flag in recorded["arguments"])
    assert (flags["--port"], flags["--rest_api_port"], flags["--enable_batching"]) == ("1", "2", "true")
    assert int(flags["--model_config_file_poll_wait_seconds"]) > 0
    assert flags["--allow_version_labels_for_unavailable_models"] == "true"
    config = text_format.Parse(recorded["files"]["--model_config_file"], ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("knet", str(base))
    assert dict(model.version_labels) == {"stable": 7, "canary": 7}
    assert read_batching(Path(flags["--batching_parameters_file"])).max_batch_size == 32
    assert "prometheus_config" in recorded["files"]["--monitoring_config_file"]
    ssl = text_format.Parse(recorded["files"]["--ssl_config_file"], SSLConfig())
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


def test_tf_serving_command_without_binary_uses_image(
    tmp_path: Path, fake_binary: Callable[[str], Path]
) -> None:
    fake_binary("podman")
    engine, *arguments = command(tmp_path)
    assert Path(engine).name == "podman" and arguments[0] == "run"
    image = arguments.index("tensorflow/serving:1.0")
    assert "--entrypoint=tensorflow_model_server" in arguments[:image]
    assert {"--publish=127.0.0.1:8500:8500", "--publish=127.0.0.1:8501:8501"} <= set(arguments[:image])
    for folder in ("knet", "config"):
        assert f"--volume={tmp_path / folder}:{tmp_path / folder}:ro" in arguments[:image]
    assert f"--model_config_file={tmp_path / 'knet' / 'models.config'}" in arguments[image:]


def test_tf_serving_command_without_binary_or_engine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError, match="neither tensorflow_model_server nor docker nor podman is on the PATH"
    ):
        command(tmp_path)
