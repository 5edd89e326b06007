"""The image, built from the Dockerfile on a Debian 13 that debootstrap makes.

No registry of images is asked: the base stands in for the name that the Dockerfile says. Debian's and
Python's packages come over the network. Variables that are read:

    DEVICE: cpu, or cuda, which takes 13 GB of disk more.
    BUILD_CA: a file of CA certificates to trust beside Debian's, where a proxy signs with its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]
_PROGRAMS = ("buildah", "podman", "runc", "debootstrap", "iptables", "catatonit")
_SETTINGS = """\
[containers]
default_ulimits=["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="file"
"""
NAME = "localhost/breakhis-knet:test"


class Engine:
    """buildah and podman with storage of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "containers.conf").write_text(_SETTINGS, encoding="utf-8")
        self._environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
        self._storage = [
            f"--root={folder / 'storage'}",
            f"--runroot={folder / 'run'}",
            "--storage-driver=overlay",
        ]

    def __call__(self, program: str, *arguments: str | Path, check: bool = True) -> str:
        """What a program printed to standard output.

        Raises:
            AssertionError: it failed; the text has the end of what it printed.
        """
        command = [program, *self._storage, *map(str, arguments)]
        done = subprocess.run(command, env=self._environment, cwd=_REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0 or not check, (
            f"{' '.join(command)}: {(done.stdout + done.stderr)[-4000:]}"
        )
        return done.stdout

    def remove(self) -> None:
        """Removes all that was built; layers are mounts, which a mere removal would stumble over."""
        self("buildah", "rm", "--all", check=False)
        self("buildah", "rmi", "--all", "--force", check=False)
        subprocess.run(["umount", self.folder / "storage" / "overlay"], capture_output=True, check=False)
        shutil.rmtree(self.folder)


@dataclass(frozen=True)
class Image:
    """The built image."""

    engine: Engine
    volume: Path  # the folder that a container sees as /work
    seconds: float  # that building it took

    def config(self) -> dict[str, Any]:
        """What it says of itself."""
        (found,) = json.loads(self.engine("podman", "image", "inspect", NAME))
        return found

    def run(self, *command: str, check: bool = True) -> str:
        """Runs a command as a careful cluster does, and returns what it printed to standard output.

        The root file system is read-only but for /tmp and /work; there is no network, no capability, and no
        way to root.
        """
        return self.engine(
            *("podman", "run", "--rm", "--no-healthcheck", "--network=none"),
            *("--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:rw,mode=1777"),
            *("--cap-drop=all", "--security-opt=no-new-privileges", f"--volume={self.volume}:/work"),
            *(NAME, *command),
            check=check,
        )


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, debian_program: Callable[..., Path]) -> Iterator[Image]:
    """The image; takes minutes and 12 GB of disk, which is free again at the end."""
    for program in _PROGRAMS:
        debian_program(program, package=program)
    if os.getuid() != 0:
        pytest.skip("debootstrap and buildah need root here")
    engine = Engine(tmp_path_factory.mktemp("image"))
    try:
        _make_base(engine)
        start = time.monotonic()
        engine("buildah", "build", *_options(), f"--tag={NAME}", ".")
        seconds = time.monotonic() - start
        volume = engine.folder / "work"
        volume.mkdir()
        volume.chmod(0o777)
        yield Image(engine, volume, seconds)
    finally:
        engine.remove()


def _make_base(engine: Engine) -> None:
    """A Debian 13 under the name that the Dockerfile takes its base by."""
    (name,) = set(
        re.findall(r"^FROM (debian:\S+)", (_REPOSITORY / "Dockerfile").read_text("utf-8"), flags=re.M)
    )
    root = engine.folder / "debian"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", "trixie", root], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout[-4000:]
    (engine.folder / "Base").write_text("FROM scratch\nCOPY debian /\n", encoding="utf-8")
    engine(
        *("buildah", "build", "--isolation=chroot", f"--tag=docker.io/library/{name}"),
        *("--file", engine.folder / "Base", engine.folder),
    )
    shutil.rmtree(root)


def _options() -> Sequence[str]:
    commit = subprocess.run(
        ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    options = ["--isolation=chroot", "--pull=never", "--format=docker", f"--build-arg=REVISION={commit}"]
    options.append(f"--build-arg=DEVICE={os.environ.get('DEVICE', 'cpu')}")
    if authorities := os.environ.get("BUILD_CA"):
        options.append(f"--volume={authorities}:/usr/local/share/ca-certificates/local.crt:ro")
    return options
