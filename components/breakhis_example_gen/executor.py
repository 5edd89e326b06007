"""Writes the images of a data set as TFRecords, one set of files a split."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.breakhis_example_gen.records import Shard, WriteShard, plan_shards
from knet.base import schema_names
from knet.base.progress import PROGRESS
from knet.base.text import printable
from knet.data.catalog import Catalog, read_catalog
from knet.data.image_checks import Quarantined, check_quarantine_rate
from knet.data.leaks import check_leaks, places
from knet.data.split import make_split

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
        examples.split_names = artifact_utils.encode_split_names(list(schema_names.SPLITS))
        examples.span = exec_properties["span"]
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        shards = plan_shards(catalog.images, split.assignment, seed=exec_properties["seed"])
        fates = self._write(catalog, shards, examples.uri, classes)
        report = ingest_report(catalog, fates, classes=classes)
        _tell(report)
        check_quarantine_rate(
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
        for split in schema_names.SPLITS:
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


def ingest_report(
    catalog: Catalog, fates: Iterable[dict[str, str]], *, classes: Sequence[str]
) -> dict[str, Any]:
    """Counts and lists.

    Args:
        catalog: of the data set.
        fates: what `WriteShard` says of each image.
        classes: the name of each label.

    Returns:
        `images`: how many were ingested, by split and class. `patients`: of how many. `quarantined`: path and
        reason of the others. `left_out`: paths of second copies of a slide. `passed_over`: names of files
        beside the images. `duplicates`: groups of images with the very same pixels, where they are of several
        patients: path, patient and split of each.
    """
    images: Counter[tuple[str, str]] = Counter()
    patients: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    quarantined = list(catalog.quarantined)
    same: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for fate in fates:
        if "reason" in fate:
            quarantined.append(Quarantined(printable(fate["path"]), fate["reason"]))
        else:
            images[fate["split"], fate["label"]] += 1
            patients[fate["split"], fate["label"]].add(fate["patient"])
            same[fate["pixels"]].append({name: fate[name] for name in ("path", "patient", "split")})
    return {
        "images": {s: {label: images[s, label] for label in classes} for s in schema_names.SPLITS},
        "patients": {s: {label: len(patients[s, label]) for label in classes} for s in schema_names.SPLITS},
        "quarantined": [asdict(file) for file in sorted(quarantined)],
        "left_out": [image.path for image in catalog.left_out],
        "passed_over": list(catalog.passed_over),
        "duplicates": sorted(
            (
                sorted(group, key=itemgetter("path"))
                for group in same.values()
                if len({image["patient"] for image in group}) > 1
            ),
            key=lambda group: group[0]["path"],
        ),
    }
