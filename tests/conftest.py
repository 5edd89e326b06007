"""Fixtures of the whole suite: test data, small BreaKHis folders, run records and an S3 server."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
from free_ports import free_ports
from PIL import Image
from run_records import run_record

from knet.data.breakhis import SUBTYPES
from knet.runs.record import RunRecord

# Before TensorFlow is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "0"
# Output that is compared has the width of a pipe, wherever the tests run.
os.environ.pop("COLUMNS", None)

# A busy machine would miss deadlines.
hypothesis.settings.register_profile(
    "knet", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("knet")

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_TOOLS = Path(__file__).resolve().parents[1] / ".tools" / "bin"
_TWO_CLASSES = Path(__file__).with_name("support") / "two_classes.json"
_AXE = Path(__file__).with_name("support") / "axe"
_GUARD = Path(__file__).with_name("support") / "connect_guard.c"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put whole graphs first, then files with slow tests: a long file that starts last runs alone."""
    ranks: dict[Path, int] = {}
    for item in items:
        rank = 0 if item.get_closest_marker("e2e") else 1 if item.get_closest_marker("slow") else 2
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: ranks[item.path])


@pytest.fixture(scope="session")
def tool() -> Callable[[str], Path]:
    """Finder of programs of requirements/tools.in, such as k6."""

    def find(name: str) -> Path:
        found = shutil.which(name, path=_TOOLS)
        assert found, f"no {name} in .tools: run make setup"
        return Path(found)

    return find


@pytest.fixture(scope="session")
def debian_program() -> Callable[..., Path]:
    """Finder of programs of Debian packages; the test is skipped if the program is not installed."""

    def find(name: str, *, package: str) -> Path:
        found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        if found is None:
            pytest.skip(f"no {name} on this machine (Debian: apt-get install {package})")
        return Path(found)

    return find


@pytest.fixture(scope="session")
def axe(debian_program: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which finds what keeps people with disabilities from using a page."""
    npm = debian_program("npm", package="npm")
    folder = shutil.copytree(_AXE, tmp_path_factory.mktemp("axe") / "axe")
    subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="session")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled connection guard."""
    library = tmp_path_factory.mktemp("guard") / "connect_guard.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, _GUARD, "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def guarded_environment(guard: Path) -> dict[str, str]:
    """An environment in which connections to other machines are refused, and noted in CONNECT_LOG."""
    # A proxy on this machine would hide where a connection goes.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**environment, "LD_PRELOAD": str(guard), "CONNECT_LOG": os.devnull}


@pytest.fixture(scope="session")
def fork_server(
    guarded_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A process that has imported the libraries, without a connection to another machine."""
    from fork_server import ForkServer

    log = tmp_path_factory.mktemp("imports") / "connections"
    server = ForkServer({**guarded_environment, "CONNECT_LOG": str(log)})
    yield server
    server.stop()
    assert not log.exists()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The test data beside the checkout; described in its README.md."""
    if not _SHARED_DATA.is_dir():
        pytest.skip(f"no test data: {_SHARED_DATA} is missing")
    return _SHARED_DATA


@pytest.fixture(scope="session")
def s3(tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a bucket on an S3 server, SeaweedFS; the environment has address and keys."""
    folder = tmp_path_factory.mktemp("s3")
    keys = {"accessKey": "knet", "secretKey": "knet-of-the-tests"}
    identity = {"name": "knet", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    ports = dict(zip(("master", "volume", "filer", "s3"), free_ports(4), strict=True))
    command = [
        *(
            str(tool("weed")),
            "server",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
        ),
        *(f"-{name}.port={port}" for name, port in ports.items()),
        *(f"-{name}.port.grpc={port + 1}" for name, port in ports.items()),
        *(f"-s3.config={folder / 's3.json'}", "-volume.max=200", "-master.volumeSizeLimitMB=64"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
    ]
    with pytest.MonkeyPatch.context() as patch, (folder / "log.txt").open("wb") as log:
        patch.setenv("AWS_ACCESS_KEY_ID", keys["accessKey"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", keys["secretKey"])
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports['s3']}")
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            _make_bucket("knet", server, deadline=time.monotonic() + 90)
            yield "s3://knet"
        finally:
            server.kill()  # terminating takes ten seconds and more, and the data are temporary
            server.wait()


def _make_bucket(name: str, server: subprocess.Popen[bytes], *, deadline: float) -> None:
    """Create a bucket, as soon as the server is ready."""
    import boto3

    while True:
        try:
            boto3.client("s3").create_bucket(Bucket=name)
            boto3.client("s3").put_object(Bucket=name, Key="probe", Body=b"")
            return
        except Exception:  # any of several errors while the server starts
            assert server.poll() is None and time.monotonic() < deadline, "SeaweedFS does not start"
            time.sleep(0.5)


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Factory of small encoded images of one colour; default: PNG."""

    def make(
        mode: str = "RGB", kind: str = "PNG", size: tuple[int, int] = (40, 32), colour: Any = 0
    ) -> bytes:
        buffer = io.BytesIO()
        Image.new(mode, size, colour).save(buffer, kind)
        return buffer.getvalue()

    return make


@pytest.fixture
def breakhis(tmp_path: Path, picture: Callable[..., bytes]) -> Callable[..., Path]:
    """Writer of images to their places in a `BreaKHis_v1`, which it returns."""
    root = tmp_path / "BreaKHis_v1"

    def write(*names: str, content: bytes | None = None) -> Path:
        for name in names:
            path = root / _place(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture() if content is None else content)
        return root

    return write


def _place(name: str) -> str:
    kind, year, slide, magnification, _ = name.split("-")
    _, letter, code = kind.split("_")
    label = {"B": "benign", "M": "malignant"}[letter]
    folder = f"SOB/{SUBTYPES[code]}/{kind}_{year}-{slide}/{magnification}X"
    return f"histology_slides/breast/{label}/{folder}/{name}"


@pytest.fixture(scope="session")
def two_classes() -> dict[str, Any]:
    """Results for two classes, recorded before there could be more of them: they must not change."""
    recorded: dict[str, Any] = json.loads(_TWO_CLASSES.read_text(encoding="utf-8"))
    return recorded


@pytest.fixture(scope="session")
def make_record() -> Callable[..., RunRecord]:
    """Factory of run records; default: of a run that pushed its winner."""
    return run_record


@pytest.fixture(scope="session")
def make_class_predictions() -> Callable[..., Any]:
    """Factory of a candidate's predictions of three classes, default: two patients per class and split."""
    return _class_predictions


def _class_predictions(
    candidate: str = "mobilenet",
    *,
    right: float = 1.0,
    patients: int = 2,
    splits: Sequence[str] = ("validation", "test"),
    threshold: float = math.nan,
    seed: int = 0,
) -> Any:
    """Make predictions of which the share `right` is correct."""
    generator = np.random.default_rng(seed)
    rows = []
    for split in splits:
        for number in range(3 * patients):
            for image, magnification in enumerate(("40X", "100X")):
                label = number % 3
                predicted = label if generator.random() < right else (label + 1) % 3
                probabilities = 0.3 * generator.dirichlet((1, 1, 1)) + 0.7 * np.eye(3)[predicted]
                rows.append(
                    {
                        "candidate": candidate,
                        "image": f"{split}/{number}/{image}.png",
                        "patient": f"{split}-{number}",
                        "split": split,
                        "label": label,
                        "score": np.float32(probabilities.max()),
                        "threshold": np.float32(threshold),
                        "magnification": magnification,
                        "probabilities": probabilities.astype(np.float32),
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def make_predictions() -> Callable[..., Any]:
    """Factory of a candidate's predictions, default: two patients per class and split."""
    return _predictions


def _predictions(
    candidate: str = "mobilenet",
    *,
    right: float = 1.0,
    patients: int = 2,
    splits: Sequence[str] = ("validation", "test"),
    seed: int = 0,
) -> Any:
    """Make predictions of which the share `right` is correct."""
    generator = np.random.default_rng(seed)
    rows = []
    for split in splits:
        for number in range(2 * patients):
            label = number % 2
            for image, magnification in enumerate(("40X", "100X", "200X")):
                confidence = generator.uniform(0.55, 0.95)
                predicted = label if generator.random() < right else 1 - label
                rows.append(
                    {
                        "candidate": candidate,
                        "image": f"{split}/{number}/{image}.png",
                        "patient": f"{split}-{number}",
                        "split": split,
                        "label": label,
                        "score": np.float32(confidence if predicted else 1 - confidence),
                        "threshold": np.float32(0.5),
                        "magnification": magnification,
                        "subtype": ("adenosis", "ductal_carcinoma")[label],
                    }
                )
    return pd.DataFrame(rows)
