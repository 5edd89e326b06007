"""What is installed, and from what."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from stack import STACKS, Stack

_REPOSITORY = Path(__file__).resolve().parents[1]
_REQUIREMENTS = _REPOSITORY / "requirements"
_LOCKS = ("compat", "compat-dev", "current", "current-cuda", "current-dev", "uv")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution, built from a copy of the tracked files."""
    copy, dist = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files"],
        cwd=_REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in tracked.stdout.splitlines():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((_REPOSITORY / name).read_bytes())
    command = [sys.executable, "setup.py", "-q", "bdist_wheel", "-d", str(dist), "sdist", "-d", str(dist)]
    subprocess.run(command, cwd=copy, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    return dist


def test_wheel_holds_our_packages_and_their_data_alone(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"pipeline", "components", "schemas", "knet"}
    data = {
        "pipeline/config/presets/demo.yaml",
        "knet/data/breakhis_v1_names.txt.gz",
        "knet/report/templates/page.html",
        "knet/report/templates/style.css",
    }
    assert data | {
        "schemas/breakhis.pbtxt",
        "schemas/images.pbtxt",
        "knet/base/proto/messages.binpb",
        "knet/serving/config/settings.binpb",
        "knet/serving/config/models.config",
        "knet/serving/config/batching_parameters.txt",
        "knet/serving/config/monitoring.config",
        "knet/data/templates/validation.html",
        "knet/data/templates/facets.html.gz",
    } <= set(names)


def test_a_worker_ingests_with_what_beam_ships_and_without_tensorflow(built: Path, tmp_path: Path) -> None:
    (shipped,) = built.glob("*.tar.gz")  # by --setup_file
    with tarfile.open(shipped) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    step = "components.breakhis_example_gen.records"
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys, {step}; print(sys.modules['{step}'].__file__, *sys.modules)"],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        check=True,
        capture_output=True,
        text=True,
    )
    file, *modules = ran.stdout.split()
    assert Path(file).is_relative_to(unpacked)
    assert {"apache_beam", "PIL", "knet.base.protos"} <= set(modules)
    assert not {"tensorflow", "tfx", "keras"} & set(modules)


def test_base_install_is_the_light_client(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))).decode()
    base = re.findall(r"^Requires-Dist: ([a-z0-9-]+)[^;\n]*$", metadata, flags=re.M)
    assert set(base) == {"click", "grpcio", "protobuf", "rich"}


@pytest.mark.parametrize("lock", _LOCKS)
def test_lock_pins_every_package_with_hashes_and_holds_no_address(lock: str) -> None:
    text = (_REQUIREMENTS / f"{lock}.lock").read_text("utf-8")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]
    assert blocks
    assert all(re.match(r"[a-z0-9._-]+==\S+", block) and "--hash=sha256:" in block for block in blocks)
    assert not re.search(r"://|^--|@ file", text, flags=re.M)


@pytest.mark.parametrize("stack", STACKS, ids=[stack.name for stack in STACKS])
def test_stack_has_locks_that_agree(stack: Stack) -> None:
    run, dev = pins(stack.name), pins(f"{stack.name}-dev")
    assert run.items() <= dev.items()
    assert run["tfx"].startswith(f"{stack.tfx}.")


def pins(lock: str) -> dict[str, str]:
    """The version of every package in a lock file."""
    text = (_REQUIREMENTS / f"{lock}.lock").read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, flags=re.M))
