"""Loads the development server with k6 over gRPC, beside a bare loop of SavedModel calls.

    python benchmarks/serving.py                  # all loads, below ten minutes on two cores
    python benchmarks/serving.py --requests 500 --seconds 2 --only mobilenet
    python benchmarks/serving.py --memory         # peaks of memory with large images; needs no k6
    python benchmarks/serving.py --request-log    # throughput with and without the request log

Two models with random weights: MobileNet (alpha 0.25) at 64 px and ResNet50 at 227 px, each asked about
synthetic PNG files of its own size, by 1, 8 and 32 clients with one image a request, and by 1 and 8 clients
with 32. Then the small model answers 50,000 requests, and more while versions are pushed and rolled back.

k6 shares the cores with the server, so the seconds that the server's process spends on processors stand
beside the throughput; "of the loop" is their ratio to those of a loop that asks the same SavedModel for as
many images at once, in a process of its own.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from draw_images import draw_images
from google.protobuf import descriptor_pb2
from measure import measure, run_measured
from PIL import Image

_ROOT = Path(__file__).resolve().parents[1]
_DISTINCT = 64  # images
_BATCH = 32  # images in a request, or a call of the loop, with many
_MODELS = {"mobilenet": 64, "resnet50": 227, "resnet152": 227, "vgg16": 227}  # pixels a side
_LOOPS = {"mobilenet": {1: 600, _BATCH: 60}, "resnet50": {1: 15, _BATCH: 2}}  # calls that are measured
_LOADS = ((1, 1), (8, 1), (32, 1), (1, _BATCH), (8, _BATCH))  # clients, images a request
_SWAPS = 8  # changes of the version, at most

_SCRIPT = """
import grpc from 'k6/net/grpc';
import { check } from 'k6';
import { SharedArray } from 'k6/data';

const images = new SharedArray('images', () => JSON.parse(open(__ENV.IMAGES)));
const many = Number(__ENV.MANY);
const client = new grpc.Client();
client.loadProtoset(__ENV.PROTOSET);

export const options = {
  scenarios: { load: JSON.parse(__ENV.SCENARIO) },
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
};

export default function () {
  if (__ITER === 0) client.connect(__ENV.ADDRESS, { plaintext: true, maxReceiveSize: 67108864 });
  const first = (__VU * 7 + __ITER) % images.length;
  const sent = Array.from({ length: many }, (_, n) => images[(first + n) % images.length]);
  const reply = client.invoke('tensorflow.serving.PredictionService/Predict', {
    model_spec: { name: 'knet' },
    inputs: { image: { dtype: 'DT_STRING', tensor_shape: { dim: [{ size: many }] }, string_val: sent } },
  }, { timeout: '120s' });
  check(reply, {
    answered: (r) => r && r.status === grpc.StatusOK && r.message.outputs.score.floatVal.length === many,
  });
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data.metrics) };
}
"""


@dataclass(frozen=True)
class Loaded:
    """How a load went."""

    requests: int
    failed: int
    seconds: float
    cpu_seconds: float  # of the server
    milliseconds: tuple[float, float, float]  # p50, p95, p99


def prepare(model: str, folder: Path) -> None:
    """Writes version 1 of a model, and the images."""
    import keras

    from knet.models.export import export_model
    from knet.models.hybrid import build_hybrid_model
    from knet.models.out_of_distribution import ClassGaussians, ImageLimits

    size = _MODELS[model]
    keras.utils.set_random_seed(0)
    hybrid = build_hybrid_model(
        model,
        candidate=model,
        size=size,
        weights=None,
        alpha=0.25 if model == "mobilenet" else None,
        normalisation="image",
        stain_normalisation="none",
        stain_reference=None,
        pixel_mean=(0, 0, 0),
        pixel_std=(1, 1, 1),
        batch_norm_momentum=0.99,
        classes=2,
        variant="parallel",
        sequence_length=(-(-size // 32)) ** 2,
        lstm_units=128,
        dense_units=256,
        dropout=0.5,
        synchronized=False,
    )
    vectors = np.random.default_rng(0).normal(size=(600, 256))
    export_model(
        hybrid,
        folder / "knet" / "1",
        size=size,
        classes=("benign", "malignant"),
        temperature=1.0,
        threshold=0.5,
        gaussians=ClassGaussians.fit(vectors, np.arange(600) % 2),
        limits=ImageLimits(0.05, 40.0, 4000.0, 20.5),
    )
    images = [base64.b64encode(i).decode() for i in draw_images(_DISTINCT, width=size, height=size)]
    (folder / "images.json").write_text(json.dumps(images), encoding="ascii")


def loop(folder: Path, *, many: int, calls: int) -> None:
    """Calls the SavedModel; loading it, and the first calls, do not count."""
    import tensorflow as tf

    answer = tf.saved_model.load(str(folder / "knet" / "1")).signatures["serving_default"]
    images = [base64.b64decode(i) for i in json.loads((folder / "images.json").read_text("ascii"))]

    def ask(times: int) -> None:
        for number in range(times):
            sent = [images[(number + n) % len(images)] for n in range(many)]
            {name: output.numpy() for name, output in answer(image=tf.constant(sent)).items()}

    ask(2)
    run_measured(lambda: ask(calls))


def write_protoset(file: Path) -> None:
    """The client's messages, with the service that they belong to."""
    files = descriptor_pb2.FileDescriptorSet.FromString(
        (_ROOT / "knet/base/proto/messages.binpb").read_bytes()
    )
    service = files.file.add(
        name="prediction_service.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=["knet/base/proto/predict.proto"],
    ).service.add(name="PredictionService")
    service.method.add(
        name="Predict",
        input_type=".tensorflow.serving.PredictRequest",
        output_type=".tensorflow.serving.PredictResponse",
    )
    file.write_bytes(files.SerializeToString())


class Server:
    """`knet serve` as a process, and k6 that loads it."""

    def __init__(
        self, process: psutil.Process, address: str, *, metrics: str, folder: Path, k6: Path
    ) -> None:
        self._process = process
        self.address = address
        self._metrics = metrics
        self._folder = folder
        self._k6 = k6

    @property
    def cpu_seconds(self) -> float:
        """Of processors, so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    @property
    def mib(self) -> float:
        """Of memory, resident."""
        return float(self._process.memory_info().rss / 2**20)

    @contextmanager
    def peak_mib(self) -> Iterator[list[float]]:
        """Yields a list that gets the peak of resident memory within the block."""
        peak: list[float] = []
        proc = Path(f"/proc/{self._process.pid}")
        (proc / "clear_refs").write_text("5", encoding="ascii")  # resets the peak
        yield peak
        status = (proc / "status").read_text("ascii")
        peak.append(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]

    @property
    def dropped(self) -> int:
        """Images that the request log did not get, so far."""
        text = urllib.request.urlopen(self._metrics).read().decode()
        return sum(int(number) for number in re.findall(r"(?m)^:knet:observer:dropped\S+ (\d+)$", text))

    def load(self, *, clients: int, many: int, seconds: int = 0, requests: int = 0) -> Loaded:
        """Sends requests for some seconds, or a number of them."""
        scenario: dict[str, Any] = {"vus": clients, "gracefulStop": "120s"}
        if requests:
            scenario |= {"executor": "shared-iterations", "iterations": requests, "maxDuration": "10m"}
        else:
            scenario |= {"executor": "constant-vus", "duration": f"{seconds}s"}
        summary = self._folder / "summary.json"
        environment = {
            "ADDRESS": self.address,
            "IMAGES": str(self._folder / "images.json"),
            "MANY": str(many),
            "PROTOSET": str(self._folder / "protoset.binpb"),
            "SCENARIO": json.dumps(scenario),
            "SUMMARY": str(summary),
        }
        before, started = self.cpu_seconds, time.monotonic()
        ran = subprocess.run(
            [str(self._k6), "run", "--quiet", "--no-usage-report", str(self._folder / "load.js")],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        took, cpu = time.monotonic() - started, self.cpu_seconds - before
        if ran.returncode:
            sys.exit(f"k6 failed:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        metrics = json.loads(summary.read_text("utf-8"))
        checks, durations = metrics["checks"]["values"], metrics["grpc_req_duration"]["values"]
        return Loaded(
            requests=int(checks["passes"] + checks["fails"]),
            failed=int(checks["fails"]),
            seconds=took,
            cpu_seconds=cpu,
            milliseconds=(durations["med"], durations["p(95)"], durations["p(99)"]),
        )


@contextmanager
def serving(folder: Path, *, k6: Path, options: Sequence[str] = ()) -> Iterator[Server]:
    """Runs `knet serve` with the bundled configuration, and further options."""
    write_protoset(folder / "protoset.binpb")
    (folder / "load.js").write_text(_SCRIPT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    log = (folder / "server.log").open("w", encoding="utf-8")
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from pipeline.commands.main import main; main()"),
            *("serve", str(folder / "knet"), "--port=0", "--rest-port=0", *options),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = ""
        while "\nready" not in lines and (line := process.stdout.readline()):
            lines += line
        address = re.search(r"gRPC on (\S+),.*metrics on (\S+)", lines)
        if address is None:
            sys.exit(f"the server did not start: {lines}{(folder / 'server.log').read_text('utf-8')[-2000:]}")
        yield Server(psutil.Process(process.pid), address[1], metrics=address[2], folder=folder, k6=k6)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


def compare(model: str, folder: Path, *, seconds: int, k6: Path) -> None:
    """Prints a line a loop and load."""
    per_image: dict[int, float] = {}
    for many, calls in _LOOPS[model].items():
        arguments = ["--loop", str(folder), str(many), str(calls)]
        measured = measure(__file__, arguments, one_thread=False)
        images = many * calls
        per_image[many] = measured.cpu_seconds / images
        _print_row(f"{model}, loop", many, calls / measured.seconds, "", per_image[many])
    with serving(folder, k6=k6) as server:
        server.load(clients=2, many=1, requests=20)  # to warm up
        for clients, many in _LOADS:
            loaded = server.load(clients=clients, many=many, seconds=seconds)
            cpu = loaded.cpu_seconds / (loaded.requests * many)
            _print_row(
                f"{model}, {clients} clients",
                many,
                loaded.requests / loaded.seconds,
                "".join(f"{value:8.1f}" for value in loaded.milliseconds),
                cpu,
                f"{cpu / per_image[many]:6.2f} of the loop, {loaded.failed} failed",
            )


def _print_row(what: str, many: int, calls: float, times: str, cpu: float, rest: str = "") -> None:
    print(
        f"{what:24} {many:6} {calls:8.1f} {calls * many:9.1f} {times:24} {cpu * 1000:8.2f} {rest}", flush=True
    )


def endure(folder: Path, *, requests: int, seconds: int, k6: Path) -> None:
    """Prints whether many requests, and changes of the version, lose any or fill the memory."""
    with serving(folder, k6=k6) as server:
        server.load(clients=32, many=1, requests=max(requests // 10, 100))
        before = server.mib
        loaded = server.load(clients=32, many=1, requests=requests)
        after = server.mib
        print(
            f"{loaded.requests} requests by 32 clients: {loaded.failed} failed, memory {before:.0f} MiB "
            f"before and {after:.0f} MiB after ({after / before - 1:+.1%})",
            flush=True,
        )
        stopping = threading.Event()
        swaps: list[int] = []
        swapper = threading.Thread(
            target=swap_versions, args=(folder / "knet", stopping, swaps, seconds / _SWAPS)
        )
        swapper.start()
        loaded = server.load(clients=8, many=1, seconds=seconds)
        stopping.set()
        swapper.join()
        if not swaps:
            sys.exit("no version was changed: give more --seconds")
        print(
            f"{loaded.requests} requests by 8 clients over {len(swaps)} changes of the version: "
            f"{loaded.failed} failed, p99 {loaded.milliseconds[2]:.1f} ms, memory {server.mib:.0f} MiB",
            flush=True,
        )


_FIELD = (700, 460)  # pixels of a field of BreaKHis


def compare_request_log(folder: Path, *, count: int) -> None:
    """Prints the throughput for images of BreaKHis's size, without and with the request log."""
    from knet.client import Client

    images = list(draw_images(_DISTINCT, width=_FIELD[0], height=_FIELD[1]))
    sent = [images[number % _DISTINCT] for number in range(count)]
    for clients, many in ((8, 1), (1, 8)):
        for name, options in (("no log", ()), ("request log", (f"--request-log={folder / 'log'}",))):
            with (
                serving(folder, k6=Path(), options=options) as server,
                Client(server.address, batch=many, concurrency=clients) as client,
            ):
                client.predict(images)
                before, cpu, started = server.dropped, server.cpu_seconds, time.monotonic()
                client.predict(sent)
                seconds = time.monotonic() - started
                print(
                    f"{clients} clients, {many} images a request, {name}: {count / seconds:.1f} images/s, "
                    f"{(server.cpu_seconds - cpu) / count * 1000:.1f} ms of CPU an image, "
                    f"{server.dropped - before} of {count} not logged",
                    flush=True,
                )


# Images a request, millions of pixels of each, concurrent requests.
_LARGE = ((1, 8, 1), (8, 8, 1), (1, 20, 1), (8, 20, 1), (8, 20, 2), (1, 64, 1), (2, 64, 1), (1, 64, 2))


_VERSIONS = 2  # that models.config has loaded


def white_png(millions: int) -> bytes:
    """A PNG file of so many million pixels, all white."""
    pixels = np.full((millions * 1000 // 8, 8000, 3), 255, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def compare_memory(model: str, folder: Path) -> None:
    """Prints the memory of a server by its versions, and its peak for requests with large images."""
    from knet.client import Client

    with serving(folder, k6=Path()) as server, Client(server.address, timeout=300, batch=8) as client:
        base = server.mib
        print(f"{model}: {base:.0f} MiB after the warm-up", flush=True)
        for version in range(2, 1 + _VERSIONS):
            shutil.copytree(folder / "knet" / "1", folder / "knet" / f"{version}.part")
            (folder / "knet" / f"{version}.part").rename(folder / "knet" / str(version))
            while client.predict([white_png(1)])[0].model_version != version:
                time.sleep(1)
            print(f"{server.mib:.0f} MiB with {version} versions", flush=True)
        base = server.mib
        for many, millions, concurrent in _LARGE:
            image = white_png(millions)
            with server.peak_mib() as peak, ThreadPoolExecutor(concurrent) as pool:
                list(pool.map(client.predict, [[image] * many] * concurrent))
            more = (peak[0] - base) * 2**20
            print(
                f"{concurrent} x {many} images of {millions} million pixels: peak {peak[0]:.0f} MiB, "
                f"{more / (concurrent * millions * 1e6):.1f} bytes a pixel of the largest images",
                flush=True,
            )


def swap_versions(base_path: Path, stopping: threading.Event, swaps: list[int], seconds: float) -> None:
    """Pushes the model twice and rolls both back, in turn, every so many seconds."""
    from knet.serving.model_store import push_version, rollback

    while not stopping.wait(seconds):
        if len(swaps) % 3 == 2:
            rollback(base_path, 1)
            swaps.append(1)
        else:
            swaps.append(int(push_version(base_path / "1", base_path)))


def main() -> None:
    """Prints a table for each model, and what came of the many requests."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seconds", type=int, default=15, help="of each load")
    parser.add_argument("--only", nargs="+", default=list(_LOOPS), choices=_MODELS)
    parser.add_argument("--k6", type=Path, default=_ROOT / ".tools" / "bin" / "k6")
    parser.add_argument("--memory", action="store_true", help="peaks of memory instead of loads")
    parser.add_argument("--request-log", action="store_true", help="costs of the log instead of loads")
    parser.add_argument("--images", type=int, default=3000, help="with --request-log")
    parser.add_argument("--loop", nargs=3, metavar=("FOLDER", "IMAGES", "CALLS"), help=argparse.SUPPRESS)
    parser.add_argument("--prepare", nargs=2, metavar=("MODEL", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        loop(Path(arguments.loop[0]), many=int(arguments.loop[1]), calls=int(arguments.loop[2]))
        return
    if arguments.prepare:
        prepare(arguments.prepare[0], Path(arguments.prepare[1]))
        return
    if not (arguments.memory or arguments.request_log or arguments.k6.is_file()):
        parser.error(f"there is no {arguments.k6}: run make setup, or give --k6")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    times = f"{'p50':>8}{'p95':>8}{'p99':>8}"
    print(f"{'':24} {'images':>6} {'calls/s':>8} {'images/s':>9} {times} {'CPU ms':>8}")
    print(f"{'':24} {'a call':>6} {'':18} {'ms':>24} {'an image':>8}")
    for model in arguments.only:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            environment = {**os.environ, "PYTHONPATH": str(_ROOT), "TF_USE_LEGACY_KERAS": "0"}
            command = [sys.executable, __file__, "--prepare", model, str(folder)]
            prepared = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
            if prepared.returncode:
                sys.exit(f"{model} cannot be exported:\n{prepared.stderr[-2000:]}")
            if arguments.memory:
                compare_memory(model, folder)
                continue
            if arguments.request_log:
                compare_request_log(folder, count=arguments.images)
                continue
            compare(model, folder, seconds=arguments.seconds, k6=arguments.k6)
            if model == "mobilenet":
                endure(folder, requests=arguments.requests, seconds=2 * arguments.seconds, k6=arguments.k6)


if __name__ == "__main__":
    main()
