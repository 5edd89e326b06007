"""Measures each Beam stage with one worker in memory and with two processes, on synthetic images.

    python benchmarks/beam_workers.py                               # 100, 500, 2,000 and 8,000 images
    python benchmarks/beam_workers.py --images 100 --size 120x80 --stages Transform

Each measurement is a process that has imported its libraries before, as in a run. CPU seconds are those of
all its processes, the start of the workers included, and peak memory is theirs together. `others` is the
number of processors that other work used meanwhile: with --attempts the measurement with the least of it
counts. The crossing is the number of images from which two processes are faster, by the lines through the
measurements.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import evaluate
import ingest
import numpy as np
from measure import Measured, Workers, executor_context, measure, run_measured

from knet.base import node_ids

_MODEL_PIXELS = 32  # per side, of the model that the Evaluator runs


def statistics(source: Path, out: Path, *, workers: Workers) -> None:
    """Runs StatisticsGen's executor."""
    from tfx.components.statistics_gen.executor import Executor
    from tfx.types import standard_artifacts

    made = standard_artifacts.ExampleStatistics()
    made.uri = str(out / "statistics")
    Executor(executor_context(out, workers=workers, node=node_ids.STATISTICS_GEN)).Do(
        {
            "examples": [ingest.examples_artifact(source)],
            "schema": [ingest.schema_artifact(out / "schema")],
        },
        {"statistics": [made]},
        {"exclude_splits": "[]"},
    )


STAGES: dict[str, Callable[..., None]] = {
    "ExampleGen": ingest.run_example_gen,
    "StatisticsGen": statistics,
    "Transform": ingest.transform_ours,
    "Evaluator": evaluate.ours,
}


def run_stage(name: str, source: Path, out: Path, *, workers: Workers) -> None:
    """Runs a stage in this process."""
    # Importing is not to be measured.
    import tfx.components.transform.executor  # noqa: F401

    import components.knet_evaluator.executor  # noqa: F401

    run_measured(lambda: STAGES[name](source, out, workers=workers))


def measure_stages(
    folder: Path,
    stages: list[str],
    workers: list[Workers],
    *,
    count: int,
    width: int,
    height: int,
    attempts: int,
) -> dict[str, dict[Workers, Measured]]:
    """Measures the stages on that many images, and prints a line for each and number of workers."""
    sources = write_sources(folder, stages, count=count, width=width, height=height)
    measured: dict[str, dict[Workers, Measured]] = {name: {} for name in stages}
    for name in stages:
        for number_of_workers in workers:
            tries = []
            for number in range(attempts):
                out = folder / f"{name}-{number_of_workers}-{number}"
                out.mkdir()
                stage = ["--stage", name, str(sources[name]), str(out), str(number_of_workers)]
                tries.append(measure(__file__, stage, one_thread=False))
            best = measured[name][number_of_workers] = min(tries, key=attrgetter("others"))
            better = min(measured[name].values(), key=attrgetter("seconds")).seconds
            print(
                f"{name:15} {count:7} {number_of_workers:>7} {best.seconds:8.1f} {best.cpu_seconds:8.1f} "
                f"{best.peak_mib:9.0f} {best.others:6.1f} {best.seconds / better:9.2f}",
                flush=True,
            )
    return measured


def write_sources(folder: Path, stages: list[str], *, count: int, width: int, height: int) -> dict[str, Path]:
    """Write that many images, as each stage reads them."""
    images = ingest.write_images(folder / "images", count=count, width=width, height=height)
    ingested = folder / "ingested"
    ingested.mkdir()
    measure(__file__, ["--stage", "ExampleGen", str(images), str(ingested), "1"])
    evaluated = folder / "evaluated"
    if "Evaluator" in stages:
        evaluate.prepare(evaluated, count=count, width=width, height=height, pixels=_MODEL_PIXELS)
    examples = ingested / "examples"
    return {"ExampleGen": images, "StatisticsGen": examples, "Transform": examples, "Evaluator": evaluated}


def _crossing(measured: dict[int, dict[Workers, Measured]]) -> str:
    """Return the number of images at which the lines of one and two workers cross."""
    if len(measured) < 2:
        return "needs two sizes"
    counts = list(measured)
    (slope, start), (slope_of_two, start_of_two) = (
        np.polyfit(counts, [measured[count][workers].seconds for count in counts], 1) for workers in (1, 2)
    )
    lines = (
        f"1: {start:.1f} s + {slope * 1000:.1f} ms, 2: {start_of_two:.1f} s + {slope_of_two * 1000:.1f} ms"
    )
    if slope <= slope_of_two:
        return f"none ({lines})"
    return f"{(start_of_two - start) / (slope - slope_of_two):,.0f} images ({lines})"


def _workers(text: str) -> Workers:
    return "auto" if text == "auto" else int(text)


def main() -> None:
    """Prints a line for each stage and number of images, then the crossings."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[100, 500, 2000, 8000])
    parser.add_argument("--size", default="350x230", help="width x height of an image; BreaKHis has 700x460")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    parser.add_argument("--workers", type=_workers, nargs="+", default=[1, 2, "auto"])
    parser.add_argument("--attempts", type=int, default=1, help="measurements, of which one counts")
    parser.add_argument(
        "--stage", nargs=4, metavar=("NAME", "SOURCE", "OUT", "WORKERS"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.stage:
        name, source, out, number = arguments.stage
        run_stage(name, Path(source), Path(out), workers=_workers(number))
        return
    width, height = map(int, arguments.size.split("x"))
    print(f"synthetic images of {width}x{height} pixels, {os.cpu_count()} cores")
    print(
        f"{'':15} {'images':>7} {'workers':>7} {'seconds':>8} {'CPU s':>8} {'peak MiB':>9} {'others':>6} "
        f"{'of better':>9}"
    )
    measured = {}
    for count in arguments.images:
        with tempfile.TemporaryDirectory() as folder:
            measured[count] = measure_stages(
                Path(folder),
                arguments.stages,
                arguments.workers,
                count=count,
                width=width,
                height=height,
                attempts=arguments.attempts,
            )
    for name in arguments.stages if {1, 2} <= set(arguments.workers) else ():
        of_stage = {count: stages[name] for count, stages in measured.items()}
        print(f"{name}: two processes are faster from {_crossing(of_stage)}")


if __name__ == "__main__":
    main()
