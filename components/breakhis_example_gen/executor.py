"""Writes the images of a data set as TFRecords, one set of files a split."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.breakhis_example_gen.catalog import Catalog, read_catalog
from components.breakhis_example_gen.ingest_report import ingest_report
from components.breakhis_example_gen.leaks import check_leaks, places
from components.breakhis_example_gen.quarantine import Quarantined, check_share
from components.breakhis_example_gen.shards import Shard, plan_shards
from components.breakhis_example_gen.splits.make_split import make_split
from components.breakhis_example_gen.write_shard import WriteShard
from pipeline import features
from pipeline.progress import PROGRESS

_SECONDS = 1.0  # between two looks at how far the workers are


class Executor(base_beam_executor.BaseBeamExecutor):
    """Catalog and split are made here; images are read, judged and written inside the Beam workers."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `Split-<name>/` folders of gzipped tf.train.Examples, the fate of every file and the split.

        Raises:
            UserError: the data set is wrong, too many of its images cannot be used, or one of them is in
                several splits.
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
        examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        examples.span = exec_properties["span"]
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        shards = plan_shards(catalog.images, split.assignment, seed=exec_properties["seed"])
        fates = self._write(catalog, shards, examples.uri, classes)
        report = ingest_report(catalog, fates, classes=classes)
        _tell(report)
        check_share(
            [Quarantined(**file) for file in report["quarantined"]],
            images=sum(sum(by_class.values()) for by_class in report["images"].values()),
            max_share=exec_properties["max_invalid_fraction"],
            where=catalog.location,
        )
        check_leaks(
            report["duplicates"],
            allowed=bool(exec_properties["allow_cross_split_duplicates"]),
            where=catalog.location,
        )
        artifact_utils.get_single_instance(output_dict["ingest"]).value = report
        artifact_utils.get_single_instance(output_dict["splits"]).value = split.frozen()

    def _write(
        self, catalog: Catalog, shards: Sequence[Shard], folder: str, classes: Sequence[str]
    ) -> list[dict[str, str]]:
        """Writes the shards, and returns what became of each image."""
        for split in features.SPLITS:
            fileio.makedirs(f"{folder}/Split-{split}")
        fates = f"{folder}/.fates"
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
                | "Fates" >> beam.io.WriteToText(fates, num_shards=1, shard_name_template="")
            )
        with fileio.open(fates) as file:
            lines = [json.loads(line) for line in file.read().splitlines()]
        fileio.remove(fates)
        return lines


def _tell(report: dict[str, Any]) -> None:
    """Says on the screen how many images there are, and in the log which ones are alike."""
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
        logging.getLogger(__name__).warning("the same pixels: %s", places(group))


@contextmanager
def _progress(folder: str, shards: Sequence[Shard]) -> Iterator[None]:
    """Says how many images are written, by the files that are there: the workers are other processes."""
    total = sum(len(shard.images) for shard in shards)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS):
            done = sum(len(shard.images) for shard in shards if fileio.exists(f"{folder}/{shard.file}"))
            logging.getLogger(PROGRESS).debug("%d of %d images", done, total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
