"""Executor of BreakHisExampleGen: images of a data set as TFRecords, a folder for each split."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import pandas as pd
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.breakhis_example_gen.records import WriteShard
from knet.base import artifact_files, schema_names
from knet.base.disk import require_space
from knet.base.progress import PROGRESS
from knet.data.catalog import Catalog, read_catalog
from knet.data.fingerprint import check_unchanged
from knet.data.image_checks import Quarantined, check_quarantine_rate
from knet.data.ingest import Shard, ingest_report, plan_shards, training_scalars
from knet.data.leaks import check_leaks, format_duplicates
from knet.data.split import make_split

_PROGRESS_INTERVAL = 1.0  # seconds


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
        shards = plan_shards(catalog.images, split.split_of, seed=exec_properties["seed"])
        statuses = self._write(catalog, shards, examples.uri, classes)
        if exec_properties["fingerprint"]:
            digests = exec_properties["digests"]
            check_unchanged(
                catalog,
                exec_properties["fingerprint"],
                digests={status["path"]: status["sha256"] for status in statuses if "sha256" in status},
                cache=Path(digests) if digests else None,
            )
        scalars = pd.DataFrame(training_scalars(statuses, classes=classes))
        with fileio.open(f"{examples.uri}/{artifact_files.TRAINING_SCALARS}", "wb") as file:
            file.write(scalars.to_parquet(index=False))
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
        self, catalog: Catalog, shards: Sequence[Shard], folder: str, classes: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Write the shards, and return the ingest status of each image, sorted by path."""
        for split in schema_names.SPLITS:
            fileio.makedirs(f"{folder}/{artifact_files.split_folder(split)}")
        statuses = f"{folder}/.ingest_status"
        with (
            catalog.source.random_access(Path(folder)) as source,
            _progress(folder, shards),
            self._make_beam_pipeline() as pipeline,
        ):
            _ = (
                pipeline
                | "Shards" >> beam.Create(shards)
                # Names go to the workers, and are read there: contents are far larger.
                | "Spread" >> beam.Reshuffle()
                | "Write" >> beam.ParDo(WriteShard(source, folder, classes=classes))
                | "IngestStatus" >> beam.io.WriteToText(statuses, num_shards=1, shard_name_template="")
            )
        with fileio.open(statuses) as file:
            rows = [json.loads(line) for line in file.read().splitlines()]
        fileio.remove(statuses)
        return sorted(rows, key=lambda row: str(row["path"]))  # Beam's order is by chance


@contextmanager
def _progress(folder: str, shards: Sequence[Shard]) -> Iterator[None]:
    """Log the number of written images, by the files that exist: the workers are other processes."""
    total = sum(len(shard.images) for shard in shards)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_PROGRESS_INTERVAL):
            done = sum(len(shard.images) for shard in shards if fileio.exists(f"{folder}/{shard.file}"))
            logging.getLogger(PROGRESS).debug("%d of %d images", done, total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


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
