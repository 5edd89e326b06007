"""What is installed, and from what."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from stack import STACKS, Stack

_REPOSITORY = Path(__file__).resolve().parents[1]
_REQUIREMENTS = _REPOSITORY / "requirements"
_LOCKS = ("compat", "compat-dev", "current", "current-cuda", "current-dev", "uv")
_UV = shutil.which("uv") or str(_REPOSITORY / ".uv" / "bin" / "uv")
_CLIENT_CPU_SECONDS = 0.5


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The wheels `knet` and `pipeline`, built from a copy of the tracked files."""
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
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(dist)!r})"
    for folder in (copy, copy / "pipeline"):
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        subprocess.run(
            [sys.executable, "-c", build], cwd=folder, check=True, capture_output=True, env=environment
        )
    (knet,) = dist.glob("breakhis_knet-*.whl")
    (pipeline,) = dist.glob("breakhis_knet_pipeline-*.whl")
    return SimpleNamespace(knet=knet, pipeline=pipeline)


def test_base_wheel_holds_knet_and_its_data_alone(wheels: SimpleNamespace) -> None:
    names = files(wheels.knet)
    assert {name.partition("/")[0] for name in names} == {"knet"}
    assert {
        "knet/base/proto/messages.binpb",
        "knet/data/breakhis_v1_names.txt.gz",
        "knet/report/templates/facets.html.gz",
        "knet/report/templates/data_page.html",
        "knet/report/templates/page.html",
        "knet/report/templates/style.css",
        "knet/serving/config/batching_parameters.txt",
        "knet/serving/config/models.config",
        "knet/serving/config/monitoring.config",
        "knet/serving/config/settings.binpb",
        "knet/serving/dev_server/templates/index.html",
        "knet/serving/monitoring/templates/monitor.html",
    } <= names


def test_pipeline_wheel_holds_the_other_packages_and_their_data(wheels: SimpleNamespace) -> None:
    names = files(wheels.pipeline)
    assert {name.partition("/")[0] for name in names} == {"pipeline", "components", "schemas"}
    assert {
        "pipeline/config/presets/demo.yaml",
        "pipeline/experiments/templates/paper_page.html",
        "schemas/breakhis.pbtxt",
        "schemas/images.pbtxt",
    } <= names


@pytest.mark.parametrize("package", ["knet", "pipeline", "components", "schemas"])
def test_wheels_hold_every_module(package: str, wheels: SimpleNamespace) -> None:
    modules = {path.relative_to(_REPOSITORY).as_posix() for path in (_REPOSITORY / package).rglob("*.py")}
    assert modules
    assert modules <= files(wheels.knet if package == "knet" else wheels.pipeline)


def test_base_needs_grpcio_and_protobuf_alone(wheels: SimpleNamespace) -> None:
    assert set(requirements(wheels.knet)) == {"grpcio", "protobuf"}


def test_pipeline_wheel_needs_the_base_of_the_same_version(wheels: SimpleNamespace) -> None:
    version = wheels.knet.name.split("-")[1]
    assert wheels.pipeline.name.split("-")[1] == version
    assert requirements(wheels.pipeline) == {"breakhis-knet": f"[cli]=={version}"}


def test_base_install_imports_the_client_alone_and_at_once(wheels: SimpleNamespace, tmp_path: Path) -> None:
    python, packages = environment(tmp_path, wheels.knet, libraries=("grpcio", "protobuf"))
    assert {path.name for path in packages.iterdir() if not path.name.startswith(("_", "breakhis_"))} == {
        "knet"
    }
    code = (
        "import sys, time; before = set(sys.modules); start = time.process_time(); import knet.client; "
        "print(time.process_time() - start, knet.__file__, *[name for name, module in sys.modules.items() "
        "if name not in before and getattr(module, '__file__', None)])"
    )
    seconds = []
    for _ in range(3):  # the first one compiles
        said = subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout
        time, file, *modules = said.split()
        seconds.append(float(time))
    assert Path(file).is_relative_to(packages)
    others = {module for module in modules if module.partition(".")[0] not in sys.stdlib_module_names}
    tops = {module.partition(".")[0] for module in others if not module.startswith("google.")}
    assert tops - {"typing_extensions"} == {"knet", "grpc"}
    googles = {".".join(module.split(".")[:2]) for module in others if module.startswith("google.")}
    assert googles - {"google._upb"} == {"google.protobuf"}
    assert min(seconds) < _CLIENT_CPU_SECONDS


@pytest.mark.slow
def test_cli_extra_runs_predict_and_names_what_other_commands_miss(
    wheels: SimpleNamespace, tmp_path: Path
) -> None:
    libraries = ("grpcio", "protobuf", "click", "rich")
    python, _ = environment(tmp_path, wheels.knet, wheels.pipeline, libraries=libraries)
    knet = python.with_name("knet")
    told = subprocess.run([knet, "predict", "--help"], check=True, capture_output=True, text=True)
    assert "Classify images with a served model" in told.stdout
    image = tmp_path / "image.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n")
    asked = subprocess.run(
        [knet, "predict", "--server", "localhost:1", image], cwd=tmp_path, capture_output=True, text=True
    )
    assert asked.returncode == 2
    assert asked.stderr.startswith("error: no model server answers at localhost:1: ")
    (tmp_path / "image.tif").write_bytes(b"II*\0")
    asked = subprocess.run([knet, "predict", "image.tif"], cwd=tmp_path, capture_output=True, text=True)
    assert (asked.returncode, "needs Pillow: pip install pillow" in asked.stderr) == (2, True)
    refused = subprocess.run([knet, "run"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2
    assert re.match(
        r"error: this command needs \w+: run pip install '.\[pipeline\]' ./pipeline in a", refused.stderr
    )


@pytest.mark.slow
def test_a_worker_ingests_with_the_wheels_and_without_tensorflow(
    wheels: SimpleNamespace, tmp_path: Path
) -> None:
    for wheel in (wheels.knet, wheels.pipeline):  # by --extra_package
        zipfile.ZipFile(wheel).extractall(tmp_path)
    step = "components.breakhis_example_gen.records"
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys, {step}; print(sys.modules['{step}'].__file__, *sys.modules)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    file, *modules = ran.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert {"apache_beam", "PIL", "knet.base.protos"} <= set(modules)
    assert not {"tensorflow", "tfx", "keras"} & set(modules)


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


def files(wheel: Path) -> set[str]:
    """The names of a wheel's files, without its metadata."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def requirements(wheel: Path) -> dict[str, str]:
    """The distributions that a wheel needs without extras: name, then extra and version."""
    archive = zipfile.ZipFile(wheel)
    text = archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))).decode()
    return dict(re.findall(r"^Requires-Dist: ([a-z0-9-]+)([^;\n]*)$", text, flags=re.M))


def environment(folder: Path, *wheels: Path, libraries: tuple[str, ...]) -> tuple[Path, Path]:
    """An environment with wheels, and libraries of this one on its path.

    Returns:
        Its interpreter, and the folder that the wheels were installed into.
    """
    python = folder / "venv" / "bin" / "python"
    subprocess.run([_UV, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    install = [_UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(python)]
    subprocess.run([*install, *map(str, wheels)], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    borrowed = folder / "libraries"
    for distribution in distributions(libraries):
        for file in distribution.files or ():
            if ".." not in file.parts:
                (borrowed / file).parent.mkdir(parents=True, exist_ok=True)
                (borrowed / file).symlink_to(file.locate())
    (packages / "_libraries.pth").write_text(f"{borrowed}\n")
    return python, packages


def distributions(names: tuple[str, ...]) -> Iterator[metadata.Distribution]:
    """Distributions and what they need without extras, of this environment."""
    seen: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another Python
        yield found
        needs = [need for need in found.requires or () if "extra ==" not in need]
        left += [match[0] for need in needs if (match := re.match(r"[A-Za-z0-9._-]+", need))]
