"""Executor of BreakHisExampleGen: images of a data set as TFRecords, a folder for each split."""

from __future__ import annotations

import itertools
import json
import logging
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.breakhis_example_gen.records import WriteShard
from components.local_runner import input_size
from knet.base import artifact_files, schema_names
from knet.base.disk import require_space
from knet.base.progress import PROGRESS
from knet.data.catalog import Catalog, read_catalog
from knet.data.fingerprint import check_unchanged
from knet.data.image_checks import Quarantined, check_quarantine_rate
from knet.data.ingest import ingest_report, training_scalars
from knet.data.leaks import check_leaks, format_duplicates
from knet.data.shards import ShardPlan, plan_shards, write_shard_manifests
from knet.data.split import Split, make_split
from knet.data.statuses import IngestStatuses, collect_statuses

_PROGRESS_INTERVAL: Final = 1.0  # seconds
_SCALARS_BLOCK: Final = 2**13  # training images in memory


class Executor(base_beam_executor.BaseBeamExecutor):
    """Makes catalog and split; Beam workers read, validate and write the images."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Write the examples, the ingest report and the split.

        The examples are `Split-<name>/` folders of gzipped tf.train.Examples, and beside them a Parquet file
        with patient, label and scalars of the training images.

        Raises:
            UserError: The data set is malformed or changed since the fingerprint, too many of its files are
                unusable, an image is in several splits, or the disk has no space for the images.
        """
        settings = json.loads(exec_properties["split"])
        classes = settings["classes"]
        catalog = read_catalog(
            Path(exec_properties["data_source"]),
            root=Path(exec_properties["data_root"]) if exec_properties["data_root"] else None,
            classes=classes,
            keep_duplicate_slides=bool(exec_properties["keep_duplicate_slides"]),
        )
        split = make_split(catalog.images, **settings)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names(list(schema_names.SPLITS))
        examples.span = exec_properties["span"]
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        size = sum(size for _, size in catalog.sizes)  # encoded images hardly compress
        require_space(Path(examples.uri), size, content="the ingested images")
        self._beam_pipeline_args.append(input_size(size))
        plan = plan_shards(
            catalog.images,
            split.split_of,
            seed=exec_properties["seed"],
            image_bytes=size // len(catalog.sizes),
        )
        for name in schema_names.SPLITS:
            fileio.makedirs(f"{examples.uri}/{artifact_files.split_folder(name)}")
        with tempfile.TemporaryDirectory(dir=examples.uri, prefix=".ingest-") as folder:
            Path(folder).chmod(0o775)  # workers in other pods may be other users of the same group
            statuses = self._write(catalog, split, plan, examples.uri, Path(folder), classes)
            if exec_properties["fingerprint"]:
                digests = exec_properties["digests"]
                check_unchanged(
                    catalog,
                    exec_properties["fingerprint"],
                    digests=((status["path"], status["sha256"]) for status in statuses if "sha256" in status),
                    cache=Path(digests) if digests else None,
                )
            _write_scalars(
                training_scalars(statuses, classes=classes),
                f"{examples.uri}/{artifact_files.TRAINING_SCALARS}",
            )
            report = ingest_report(catalog, statuses, classes=classes)
        _log(report)
        check_quarantine_rate(
            [Quarantined(**file) for file in report["quarantined"]],
            images=sum(sum(by_class.values()) for by_class in report["images"].values()),
            max_invalid_fraction=exec_properties["max_invalid_fraction"],
            location=catalog.location,
        )
        check_leaks(
            report["duplicates"],
            allowed=bool(exec_properties["allow_cross_split_duplicates"]),
            location=catalog.location,
        )
        artifact_utils.get_single_instance(output_dict["ingest"]).value = report
        artifact_utils.get_single_instance(output_dict["splits"]).value = split.frozen()

    def _write(
        self,
        catalog: Catalog,
        split: Split,
        plan: ShardPlan,
        folder: str,
        temporary: Path,
        classes: Sequence[str],
    ) -> IngestStatuses:
        """Write the shards, and return the ingest status of each image.

        Images go to the workers by manifests, and their statuses come back by files: neither is in the
        memory of this process, nor in that of Beam's local runner.
        """
        manifests, statuses, reasons = (temporary / name for name in ("manifests", "statuses", "reasons"))
        manifests.mkdir()
        statuses.mkdir()
        write_shard_manifests(plan, catalog.images, manifests)
        with (
            catalog.source.random_access(Path(folder)) as source,
            _progress(plan, statuses),
            self._make_beam_pipeline() as pipeline,
        ):
            write = WriteShard(source, folder, manifests=manifests, statuses=statuses, classes=classes)
            _ = (
                pipeline
                | "Shards" >> beam.Create(plan.shards)
                | "Spread" >> beam.Reshuffle()
                | "Write" >> beam.ParDo(write)
                | "Unusable" >> beam.Map(json.dumps)
                | "Reasons" >> beam.io.WriteToText(str(reasons), num_shards=1, shard_name_template="")
            )
        collected = temporary / "collected"
        collect_statuses((statuses / shard.name for shard in plan.shards), collected)
        lines = reasons.read_text("utf-8").splitlines()
        return IngestStatuses(catalog.images, split.split_of, collected, dict(map(json.loads, lines)))


@contextmanager
def _progress(plan: ShardPlan, statuses: Path) -> Iterator[None]:
    """Log the number of images in complete shards, by the files of their statuses.

    Beam has no metrics of a pipeline that runs: its local runner returns them at the end, and the result of a
    portable runner keeps the first ones that it was asked for.
    """
    images_in = {shard.name: plan.images_in(index) for index, shard in enumerate(plan.shards)}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_PROGRESS_INTERVAL):
            done = sum(images_in.get(file.name, 0) for file in statuses.iterdir())
            logging.getLogger(PROGRESS).debug("%d of %d images", done, len(plan.places))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _write_scalars(rows: Iterator[Mapping[str, Any]], file: str) -> None:
    """Write the scalars of the training images as Parquet, a block at a time."""
    schema = pa.schema(
        [
            (schema_names.PATIENT, pa.string()),
            (schema_names.LABEL, pa.int64()),
            *((name, pa.float64()) for name in schema_names.IMAGE_SCALARS),
        ]
    )
    with pq.ParquetWriter(file, schema) as writer:
        while block := list(itertools.islice(rows, _SCALARS_BLOCK)):
            writer.write_table(pa.Table.from_pylist(block, schema))


def _log(report: dict[str, Any]) -> None:
    """Show the numbers of images on the screen, and log the images with identical pixels."""
    images = {split: sum(by_class.values()) for split, by_class in report["images"].items()}
    counts = ", ".join(f"{split} {count}" for split, count in images.items())
    quarantined, duplicates = report["quarantined"], report["duplicates"]
    logging.getLogger(PROGRESS).info(
        "%d images ingested (%s), %d quarantined%s",
        sum(images.values()),
        counts,
        len(quarantined),
        f", {sum(map(len, duplicates))} with the pixels of another patient's image" if duplicates else "",
    )
    for group in duplicates:
        logging.getLogger(__name__).warning("the same pixels: %s", format_duplicates(group))
