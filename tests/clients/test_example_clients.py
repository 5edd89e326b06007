"""The clients of examples/clients, built by their own tools, ask the development server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import write_certificate
from serving_fixtures import base_path, png, server

from knet.serving.dev_server.security import Tls
from knet.serving.dev_server.server import DevServer, Options

__all__ = ["base_path", "png", "server"]

pytestmark = pytest.mark.clients
_ROOT = Path(__file__).resolve().parents[2]
_TOOLS = {"java": ("java", "mvn"), "node": ("node", "npm")}


@pytest.fixture(scope="module", params=_TOOLS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command line of a built client."""
    missing = [program for program in _TOOLS[request.param] if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no {' and '.join(missing)} on this machine")
    root = tmp_path_factory.mktemp(request.param)
    for folder in ("examples/clients", "knet/base/proto"):
        built = shutil.ignore_patterns("node_modules", "target")
        shutil.copytree(_ROOT / folder, root / folder, ignore=built)
    folder = root / "examples" / "clients" / request.param
    if request.param == "java":
        subprocess.run(["mvn", "--quiet", "--batch-mode", "package"], cwd=folder, check=True)
        return ["java", "-jar", str(folder / "target" / "classify-1.jar")]
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True)
    return ["node", str(folder / "classify.js")]


@pytest.fixture
def images(tmp_path: Path, png: Callable[[int], bytes]) -> list[str]:
    """A dark and a bright image."""
    files = [tmp_path / "dark.png", tmp_path / "bright.png"]
    for file, brightness in zip(files, (51, 255), strict=True):
        file.write_bytes(png(brightness))
    return [str(file) for file in files]


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def rows(images: list[str]) -> list[list[str]]:
    return [
        [images[0], "benign", "0.2", "unreliable", "version 7"],
        [images[1], "malignant", "1", "reliable", "version 7"],
    ]


def parsed(output: str) -> list[list[str]]:
    """Lines of the output, with scores that all languages write alike."""
    lines = [line.split("\t") for line in output.splitlines()]
    return [[file, label, f"{float(score):.6g}", *rest] for file, label, score, *rest in lines]


def test_client_prints_predictions(client: list[str], server: DevServer, images: list[str]) -> None:
    ran = run([*client, server.address, *images])
    assert ran.returncode == 0, ran.stderr
    assert parsed(ran.stdout) == rows(images)


def test_client_prints_the_status_of_a_refused_image(
    client: list[str], server: DevServer, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    ran = run([*client, server.address, str(tmp_path / "text.png")])
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "INVALID_ARGUMENT: " in ran.stderr


def test_client_uses_tls_and_token(
    client: list[str], base_path: Path, images: list[str], tmp_path: Path
) -> None:
    folder = write_certificate(tmp_path)
    options = Options(tls=Tls(folder / "cert.pem", folder / "key.pem"), token="swordfish")
    with DevServer(base_path, port=0, options=options) as secured:
        command = [*client, secured.address, *images]
        ran = run(command, KNET_CA=str(folder / "cert.pem"), KNET_TOKEN="swordfish")
        assert ran.returncode == 0, ran.stderr
        assert parsed(ran.stdout) == rows(images)
        refused = run(command, KNET_CA=str(folder / "cert.pem"))
    assert refused.returncode == 1
    assert "UNAUTHENTICATED: " in refused.stderr
