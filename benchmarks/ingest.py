"""Compares ingestion and Transform with plain loops that do the same work, on the same synthetic images.

    python benchmarks/ingest.py                      # 500, 2,000 and 7,909 images
    python benchmarks/ingest.py --images 500 --size 700x460

Each measurement is a process of its own, so that peaks of memory do not mix; TensorFlow has one thread in
each. Speed per core is images a second of processor time, of all processes together: the start of Beam's
workers counts, importing the libraries in the first process does not.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from draw_images import draw_images
from measure import Workers, executor_context, measure, run_measured

from knet.base import node_ids

_DISTINCT = 100  # images that are drawn; the others are hard links to them
_TRANSFORMED = 227  # pixels per side
_CODES = ("B_A", "M_DC")


def write_images(folder: Path, *, count: int, width: int, height: int) -> Path:
    """Writes a synthetic BreaKHis of that many images, which pack about as well as micrographs."""
    drawn = folder / "drawn"
    drawn.mkdir(parents=True)
    for number, image in enumerate(draw_images(min(count, _DISTINCT), width=width, height=height)):
        (drawn / f"{number}.png").write_bytes(image)
    from knet.data.breakhis import parse_name

    images_of_patient = max(1, min(50, count // 10))  # every split needs patients of both classes
    for number in range(count):
        patient, sequence = divmod(number, images_of_patient)
        name = f"SOB_{_CODES[patient % 2]}-14-{1000 + patient}-100-{sequence:03}.png"
        path = folder / "BreaKHis_v1" / parse_name(name).path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(drawn / f"{number % _DISTINCT}.png")
    return folder / "BreaKHis_v1"


def ingest_plain(source: Path, out: Path) -> None:
    """Reads, decodes, checks, hashes and writes every image, one after the other."""
    import tensorflow as tf

    from knet.data.catalog import read_catalog
    from knet.data.ingest import make_example

    catalog = read_catalog(source)
    files = dict(catalog.source.parts(image.path for image in catalog.images))
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=0)
    hashes = []
    with tf.io.TFRecordWriter(str(out / "plain.gz"), options) as writer:
        for image, file in zip(catalog.images, files.values(), strict=True):
            content = file.read_bytes()
            ingested = make_example(image, content, split="train", classes=("benign", "malignant"))
            hashes.append(ingested.pixel_hash)
            writer.write(ingested.record)


def run_example_gen(
    source: Path, out: Path, *, workers: Workers, fingerprint: str = "", digests: str = ""
) -> None:
    """Runs ExampleGen's executor."""
    from tfx.types import standard_artifacts

    from components.breakhis_example_gen.executor import Executor
    from pipeline.config.load import load_config

    outputs = {name: standard_artifacts.JsonValue() for name in ("ingest", "splits")}
    for name, artifact in outputs.items():
        artifact.uri = str(out / name)
    properties = {
        "data_source": str(source),
        "data_root": "",
        "fingerprint": fingerprint,
        "digests": digests,
        "span": 1,
        "max_invalid_fraction": 0.0,
        "allow_cross_split_duplicates": 1,  # few images of `write_images` are distinct
        "split": json.dumps(load_config("paper", ["data.slices=[]"]).split_settings),
        "keep_duplicate_slides": 1,
        "seed": 0,
    }
    examples = examples_artifact(out / "examples")
    Executor(executor_context(out, workers=workers, node=node_ids.EXAMPLE_GEN)).Do(
        {}, {"examples": [examples], **{n: [a] for n, a in outputs.items()}}, properties
    )


def transform_plain(source: Path, out: Path) -> None:
    """Decodes and resizes ingested images with tf.data, and writes them."""
    import tensorflow as tf

    from knet.base import schema_names
    from knet.models.images import decode_images

    def decode(records: Any) -> Any:
        parsed = tf.io.parse_example(records, {schema_names.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        pixels = decode_images(parsed[schema_names.IMAGE], size=_TRANSFORMED)
        return tf.map_fn(tf.io.serialize_tensor, pixels, fn_output_signature=tf.string)

    files = [str(path) for path in sorted(source.glob("Split-*/*"))]
    data = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(32).map(decode)
    with tf.io.TFRecordWriter(str(out / "plain.gz"), "GZIP") as writer:
        for batch in data.as_numpy_iterator():
            for pixels in batch:
                example = tf.train.Example()
                example.features.feature[schema_names.PIXELS].bytes_list.value.append(pixels)
                writer.write(example.SerializeToString())


def transform_ours(source: Path, out: Path, *, workers: Workers) -> None:
    """Runs Transform's executor with our preprocessing_fn."""
    from tfx.components.transform.executor import Executor
    from tfx.types import standard_artifacts

    graph = standard_artifacts.TransformGraph()
    graph.uri = str(out / "graph")
    properties = {
        "preprocessing_fn": "knet.training.preprocessing.preprocessing_fn",
        "custom_config": json.dumps({"image_size": _TRANSFORMED}),
        "force_tf_compat_v1": 0,
        "disable_statistics": 1,
    }
    Executor(executor_context(out, workers=workers, node=node_ids.TRANSFORM)).Do(
        {"examples": [examples_artifact(source)], "schema": [schema_artifact(out / "schema")]},
        {"transform_graph": [graph], "transformed_examples": [examples_artifact(out / "transformed")]},
        properties,
    )


def examples_artifact(folder: Path) -> Any:
    """Returns the artifact of ExampleGen's examples in a folder, which it makes."""
    from tfx.types import artifact_utils, standard_artifacts

    from knet.base import schema_names

    examples = standard_artifacts.Examples()
    folder.mkdir(parents=True, exist_ok=True)
    examples.uri, examples.split_names = (
        str(folder),
        artifact_utils.encode_split_names(list(schema_names.SPLITS)),
    )
    return examples


def schema_artifact(folder: Path) -> Any:
    """Writes the bundled schema to a folder, and returns its artifact."""
    from tfx.types import standard_artifacts

    import schemas

    folder.mkdir()
    (folder / "schema.pbtxt").write_text(schemas.BREAKHIS.read_text("utf-8"), "utf-8")
    schema = standard_artifacts.Schema()
    schema.uri = str(folder)
    return schema


JOBS: dict[str, Callable[[Path, Path], None]] = {
    "ingest, plain loop": ingest_plain,
    "ingest, ours, 1 process": lambda source, out: run_example_gen(source, out, workers=1),
    "ingest, ours, 2 processes": lambda source, out: run_example_gen(source, out, workers=2),
    "transform, plain tf.data": transform_plain,
    "transform, ours, 1 process": lambda source, out: transform_ours(source, out, workers=1),
    "transform, ours, 2 processes": lambda source, out: transform_ours(source, out, workers=2),
}


def run_job(name: str, source: Path, out: Path) -> None:
    """Runs one job in this process."""
    from tfx.components.transform import executor as _  # noqa: F401 (importing is not to be measured)

    run_measured(lambda: JOBS[name](source, out))


def main() -> None:
    """Prints a line a job and number of images."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[500, 2000, 7909])
    parser.add_argument("--size", default="350x230", help="width x height of an image; BreaKHis has 700x460")
    parser.add_argument("--only", nargs="+", default=[""], help="jobs whose names start so")
    parser.add_argument("--job", nargs=3, metavar=("NAME", "SOURCE", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_job(arguments.job[0], Path(arguments.job[1]), Path(arguments.job[2]))
        return
    width, height = map(int, arguments.size.split("x"))
    print(f"synthetic images of {width}x{height} pixels, {os.cpu_count()} cores")
    print("TensorFlow Datasets' Beam builder is not compared: it is not among the locked packages")
    print(f"{'':30} {'images':>7} {'seconds':>8} {'images/s':>9} {'per core':>9} {'peak MiB':>9}")
    for count in arguments.images:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            source = write_images(folder, count=count, width=width, height=height)
            for name in (name for name in JOBS if name.startswith(tuple(arguments.only))):
                out = folder / name.replace(" ", "-")
                of = source if name.startswith("ingest") else folder / "ingest,-ours,-1-process" / "examples"
                out.mkdir(parents=True)
                measured = measure(__file__, ["--job", name, str(of), str(out)])
                print(
                    f"{name:30} {count:7} {measured.seconds:8.1f} {count / measured.seconds:9.1f} "
                    f"{count / measured.cpu_seconds:9.1f} {measured.peak_mib:9.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
