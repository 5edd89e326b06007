"""Measures a job in a process of its own: by the clock, of the processors, and in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

_ROOT = Path(__file__).resolve().parents[1]
_INTERVAL = 0.1  # seconds between two looks at the memory

Workers = int | Literal["auto"]  # values of `beam.workers`


@dataclass(frozen=True)
class Measured:
    """What one job took."""

    seconds: float
    cpu_seconds: float
    peak_mib: float  # of all its processes together, resident
    others: float  # processors that other work used meanwhile, on average


def run_measured(job: Callable[[], object]) -> None:
    """Runs a job in this process, and prints its seconds by the clock and of processors for `measure`."""
    started, before = time.monotonic(), _cpu_seconds()
    job()
    print(f"\n{json.dumps([time.monotonic() - started, _cpu_seconds() - before])}")


def measure(script: str, arguments: Sequence[str], *, one_thread: bool = True) -> Measured:
    """Runs a script that calls `run_measured`, and watches its memory.

    Args:
        script: its file.
        arguments: that it gets.
        one_thread: whether TensorFlow is held to one thread.
    """
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"} if one_thread else {}
    environment = {**os.environ, **threads, "PYTHONPATH": str(_ROOT), "TF_USE_LEGACY_KERAS": "0"}
    started, busy = time.monotonic(), _busy_seconds()
    process = subprocess.Popen(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    peaks = [0]
    watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), peaks), daemon=True)
    watcher.start()
    stdout, stderr = process.communicate()
    watcher.join()
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{stderr.decode()[-3000:]}")
    seconds, cpu_seconds = json.loads(stdout.decode().splitlines()[-1])
    others = (_busy_seconds() - busy) / (time.monotonic() - started)
    return Measured(seconds, cpu_seconds, max(peaks) / 2**20, max(0.0, others))


def _busy_seconds() -> float:
    """Return the seconds that the processors worked, for others than this process and its ended children."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice) - _cpu_seconds()


def peak_bytes() -> int:
    """Return the highest resident memory of this process, which Linux keeps."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def _cpu_seconds() -> float:
    times = os.times()  # of ended children too
    return times.user + times.system + times.children_user + times.children_system


def _watch(process: psutil.Process, peaks: list[int]) -> None:
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        peaks.append(sum(_resident(one) for one in _family(process)))
        time.sleep(_INTERVAL)


def _family(process: psutil.Process) -> Iterator[psutil.Process]:
    try:
        yield from (process, *process.children(recursive=True))
    except psutil.NoSuchProcess:  # it ended just now
        return


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def executor_context(out: Path, *, workers: Workers, node: str = "") -> Any:
    """Return the context of a Beam executor, whose temporary files are below `out`.

    Args:
        out: folder of what the executor writes.
        workers: `beam.workers`.
        node: kind of node, by which `auto` chooses.
    """
    from tfx.dsl.components.base import base_beam_executor

    from components.local_runner import TWO_PROCESSES_FROM, two_processes_from
    from pipeline.config.config import BeamConfig
    from pipeline.runners.beam import beam_args

    arguments = beam_args(BeamConfig(workers=workers))
    if workers == "auto" and node in TWO_PROCESSES_FROM:
        arguments.append(two_processes_from(TWO_PROCESSES_FROM[node]))
    return base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=arguments, tmp_dir=str(out / "tmp"), unique_id="1"
    )
