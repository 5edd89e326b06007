"""Has several processes of this machine share a search."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import tensorflow as tf

import pipeline
from pipeline.progress import PROGRESS

_HOST = "127.0.0.1"
_POLL = 0.5  # seconds


def run_workers(folder: Path, *, workers: int) -> None:
    """Starts a chief and workers, and returns when they are done or have failed.

    Several GPUs are shared out among the workers. What they write goes to this process's outputs.

    Args:
        folder: of the search; its plan is there.
        workers: how many.
    """
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = free.getsockname()[1]
    gpus = _gpus()
    chief = _start(folder, "chief", port, gpu="")
    crew = [
        _start(folder, f"worker-{number}", port, gpu=gpus[number % len(gpus)] if gpus else None)
        for number in range(workers)
    ]
    try:
        said = 0
        while chief.poll() is None and any(process.poll() is None for process in crew):
            if (ended := _ended(folder)) > said:
                said = ended
                logging.getLogger(PROGRESS).info("%d trials ended, on %d workers", ended, workers)
            time.sleep(_POLL)
    finally:
        for process in (*crew, chief):
            process.terminate()
            process.wait()


def _start(folder: Path, name: str, port: int, *, gpu: str | None) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": _HOST,
        "KERASTUNER_ORACLE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(
            [str(Path(pipeline.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
        "no_grpc_proxy": _HOST,
    }
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    return subprocess.Popen([sys.executable, "-m", "pipeline.tuning.work", str(folder)], env=environment)


def _gpus() -> list[str]:
    """The names that CUDA_VISIBLE_DEVICES takes, of all that are visible here."""
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(number) for number in range(len(tf.config.list_physical_devices("GPU")))]


def _ended(folder: Path) -> int:
    """How many trials have."""
    count = 0
    for file in folder.glob("trial_*/trial.json"):
        with contextlib.suppress(FileNotFoundError):
            count += json.loads(file.read_text(encoding="utf-8"))["status"] != "RUNNING"
    return count
