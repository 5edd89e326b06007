"""Measures the CPU time of commands that learn nothing: start, imports, graph, report.

    python benchmarks/start_up.py                 # all, in a temporary folder
    python benchmarks/start_up.py --only imports compile

`run` and `simulate` run a graph of one small candidate on synthetic images twice; the cache answers the
second turn. CPU seconds are user and system time of a command and its children, on which other work has less
effect than on wall time. Shares of imports are those of `-X importtime`, by top-level package.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

_ROOT = Path(__file__).resolve().parents[1]
_SMALL = (
    "image.size=32",
    "candidates={mobilenet: {weights: none, alpha: 0.25}}",
    "tuning=null",
    "data.sample.patients=12",
    "data.split.test_share=0.25",
    "training.epochs=1",
)
_IMPORTS = ("pipeline.kubeflow.run_nodes", "pipeline.kubeflow.compiler", "pipeline.runners.local")
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*([^.\s]+)")


def cpu_seconds() -> float:
    """CPU time of the ended child processes of this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(name: str, *command: str, overrides: tuple[str, ...] = (), code: int = 0) -> None:
    """Runs a knet command and prints its CPU and wall time."""
    settings = [word for override in overrides for word in ("--set", override)]
    cpu, start = cpu_seconds(), time.monotonic()
    main = "from pipeline.commands.main import main; main()"
    done = subprocess.run([sys.executable, "-c", main, *command, *settings], cwd=_ROOT, capture_output=True)
    if done.returncode not in (0, code):
        sys.exit(f"{name} failed: {done.stderr.decode()[-2000:]}")
    print(f"{name:<40} {cpu_seconds() - cpu:6.1f} s CPU {time.monotonic() - start:7.1f} s", flush=True)


def measure_local(folder: Path) -> None:
    """A run, the same from the cache, and a comparison of the schema with its data."""
    overrides = (f"output={folder}", *_SMALL)
    measure("knet run, first", "run", overrides=overrides)
    measure("knet run, from the cache", "run", overrides=overrides)
    measure("knet schema diff", "schema", "diff", overrides=overrides, code=1)


def measure_compile(folder: Path) -> Path:
    """Compilation of the production preset, and of a small graph, whose file it returns."""
    file = folder / "small.yaml"
    production = ("--preset", "production", "--output", str(folder / "production.yaml"))
    measure("knet kubeflow compile, production", "kubeflow", "compile", *production)
    overrides = (f"output={folder}", *_SMALL, f"kubeflow.schema_file={_ROOT}/schemas/breakhis.pbtxt")
    volumes = ("checkpoints", "cache_root", "push_folder", "registry")
    overrides += tuple(f"kubeflow.{name}={folder / name}" for name in volumes)
    one = ("--output", str(file))
    measure("knet kubeflow compile, one candidate", "kubeflow", "compile", *one, overrides=overrides)
    return file


def measure_containers(folder: Path, file: Path) -> None:
    """The containers of a run, and those of its repetition that the cache does not answer."""
    from pipeline.kubeflow.simulator import NodeResult, Simulator

    measure("knet sample-data", "sample-data", str(folder / "data"))
    document, platform = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    cpu = cpu_seconds()

    def show(result: NodeResult) -> None:
        nonlocal cpu
        before, cpu = cpu, cpu_seconds()
        if result.state != "cached":
            print(f"  container of {result.node:<27} {cpu - before:6.1f} s CPU", flush=True)

    for turn in ("first", "second"):
        print(f"simulation, {turn} turn", flush=True)
        Simulator(folder / "cluster", run_id=turn, on_result=show).run(
            document,
            pipeline_root=document["defaultPipelineRoot"],
            platform=platform,
            parameters={"data_source": str(folder / "data")},
        )


def profile_imports(module: str) -> None:
    """Prints the CPU time of importing a module, and the share of each top-level package."""
    cpu = cpu_seconds()
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    packages: Counter[str] = Counter()
    for microseconds, package in _LINE.findall(done.stderr):
        packages[package] += int(microseconds)
    total = sum(packages.values())
    shares = ", ".join(f"{package} {count / total:.0%}" for package, count in packages.most_common(14))
    print(f"import {module:<33} {cpu_seconds() - cpu:6.1f} s CPU: {shares}", flush=True)


def main() -> None:
    """Measures what the options name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ("imports", "compile", "run", "simulate")
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds)
    only = parser.parse_args().only
    os.environ["PYTHONPATH"] = str(_ROOT)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "imports" in only:
            for module in _IMPORTS:
                profile_imports(module)
        if "compile" in only or "simulate" in only:
            file = measure_compile(folder)
        if "run" in only:
            measure_local(folder / "run")
        if "simulate" in only:
            measure_containers(folder, file)


if __name__ == "__main__":
    main()
