"""Measures each Beam stage on the local runner and on Prism with its memory, on synthetic images.

    python benchmarks/prism.py                               # after `make test-prism`, which builds Prism
    python benchmarks/prism.py --images 100 --stages Transform

Prism and a pool of external workers are started again for each stage. Peaks are of the resident memory of
Prism, and of the largest worker. The result of the stage is not looked at; `make test-prism` does that.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import beam_workers
import measure
import psutil

_ROOT = Path(__file__).resolve().parents[1]
_INTERVAL = 0.1  # seconds between two looks at the memory


@contextlib.contextmanager
def serve(command: list[str], *, port: int) -> Iterator[psutil.Process]:
    """Runs a server until the context ends, and waits until it listens to its port."""
    # Pools start workers by the name `python`.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(_ROOT)}
    process = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
                break
            if process.poll() is not None:
                sys.exit(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.2)
        yield process
    finally:
        for child in process.children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


@contextlib.contextmanager
def peaks(measured: dict[str, Callable[[], int]]) -> Iterator[dict[str, int]]:
    """Yields the largest values of the functions while the context is open, in bytes."""
    found = dict.fromkeys(measured, 0)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_INTERVAL):
            for name, resident in measured.items():
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[name] = max(found[name], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def run_on_prism(
    name: str, source: Path, out: Path, *, prism: Path
) -> tuple[measure.Measured, dict[str, int]]:
    """Runs a stage in a process of its own, on Prism, and returns its measurement and the peaks in bytes."""
    job, pool = _free_port(), _free_port()
    workers = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}"]
    with (
        serve([str(prism), f"--job_port={job}", "--serve_http=false"], port=job) as runner,
        serve([sys.executable, *workers], port=pool) as workers_of_pool,
        peaks(
            {
                "prism": lambda: runner.memory_info().rss,
                "worker": lambda: max(
                    (child.memory_info().rss for child in workers_of_pool.children(recursive=True)), default=0
                ),
            }
        ) as found,
    ):
        stage = ["--stage", name, str(source), str(out), f"{job}:{pool}"]
        measured = measure.measure(__file__, stage, one_thread=False)
    return measured, found


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def _portable(ports: str) -> Callable[..., object]:
    """Return an `executor_context` of a job server and a pool, by their ports."""
    job, pool = ports.split(":")
    arguments = [
        "--runner=PortableRunner",
        f"--job_endpoint=localhost:{job}",
        "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{pool}",
        "--sdk_container_image=none",
    ]

    def context(out: Path, **_: object) -> object:
        from tfx.dsl.components.base import base_beam_executor

        from pipeline.config.config import BeamConfig
        from pipeline.runners.beam import beam_args

        return base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=beam_args(BeamConfig(args=arguments)), tmp_dir=str(out / "tmp"), unique_id="1"
        )

    return context


def main() -> None:
    """Prints a line for each stage."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--size", default="700x460", help="width x height of an image")
    parser.add_argument("--stages", nargs="+", default=list(beam_workers.STAGES), choices=beam_workers.STAGES)
    parser.add_argument("--prism", type=Path, default=_ROOT / ".tools" / "prism", help="executable")
    parser.add_argument("--stage", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        name, source, out, ports = arguments.stage
        for module in (beam_workers, beam_workers.ingest, beam_workers.evaluate):
            module.executor_context = _portable(ports)
        beam_workers.run_stage(name, Path(source), Path(out), workers=1)
        return
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = beam_workers.write_sources(
            folder, arguments.stages, count=arguments.images, width=width, height=height
        )
        size = sum(file.stat().st_size for file in sources["Transform"].rglob("*.gz"))
        print(f"{arguments.images} synthetic images of {width}x{height} pixels, {size / 1e6:.0f} MB")
        print(f"{'':15} {'local, s':>8} {'Prism, s':>8} {'Prism, MiB':>10} {'worker, MiB':>11}")
        for name in arguments.stages:
            outs = [folder / f"{name}-{runner}" for runner in ("local", "prism")]
            for out in outs:
                out.mkdir()
            stage = ["--stage", name, str(sources[name]), str(outs[0]), "1"]
            local = measure.measure(beam_workers.__file__, stage, one_thread=False)
            on_prism, found = run_on_prism(name, sources[name], outs[1], prism=arguments.prism)
            print(
                f"{name:15} {local.seconds:8.1f} {on_prism.seconds:8.1f} {found['prism'] >> 20:10} "
                f"{found['worker'] >> 20:11}",
                flush=True,
            )


if __name__ == "__main__":
    main()
