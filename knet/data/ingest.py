"""Ingestion of images: plan of shards, TFRecord examples, and the report on every file."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from knet.base import artifact_files, schema_names
from knet.base.image_scalars import image_scalars
from knet.base.protos import Example
from knet.base.text import printable
from knet.data.catalog import Catalog
from knet.data.image_checks import Quarantined, validate_image
from knet.data.source import ImageFile

IMAGES_PER_SHARD: Final = 32  # files of about 16 MB; enough of them to keep several workers busy


@dataclass(frozen=True)
class Shard:
    """The images of one TFRecord file."""

    split: str
    number: int  # index among the shards of the split, from 0
    count: int  # number of shards of the split
    images: tuple[ImageFile, ...]

    @property
    def file(self) -> str:
        """Path of the file, relative to the folder of the examples."""
        return (
            f"{artifact_files.split_folder(self.split)}/data_tfrecord-{self.number:05}-of-{self.count:05}.gz"
        )


def plan_shards(
    images: Iterable[ImageFile], split_of: Callable[[ImageFile], str], *, seed: int
) -> list[Shard]:
    """Divide the images of each split into shards of up to 32; a split without images gets one empty shard.

    Images are ordered by a hash of seed and path. That is random enough for a training that shuffles within a
    window, and independent of the number of workers.

    Args:
        images: Images of the data set.
        split_of: Returns the split of an image.
        seed: Seed of the order.
    """
    images_by_split: dict[str, list[ImageFile]] = {split: [] for split in schema_names.SPLITS}
    for image in images:
        images_by_split[split_of(image)].append(image)
    shards = []
    for split, members in images_by_split.items():
        members.sort(key=lambda image: hashlib.sha256(f"{seed}/{image.path}".encode()).digest())
        starts = range(0, max(len(members), 1), IMAGES_PER_SHARD)
        shards += [
            Shard(split, number, len(starts), tuple(members[start : start + IMAGES_PER_SHARD]))
            for number, start in enumerate(starts)
        ]
    return shards


@dataclass(frozen=True)
class IngestedImage:
    """An image as a serialised example."""

    record: bytes  # tf.train.Example, deterministic: the same image gives the same bytes
    pixel_hash: str  # SHA-256 of size and pixels, in hexadecimal
    scalars: dict[str, float]  # by feature: IMAGE_SCALARS


def make_example(image: ImageFile, content: bytes, *, split: str, classes: Sequence[str]) -> IngestedImage:
    """Validate an image and make its example, with the features named in `knet.base.schema_names`.

    Args:
        image: Labels and texts of the image.
        content: Bytes of the file.
        split: Split of the image.
        classes: Class names in the order of the labels.

    Raises:
        UnusableError: The content is no usable image; the message is the reason.
    """
    valid = validate_image(content)
    height, width, _ = valid.pixels.shape
    texts = {
        schema_names.PATH: image.path,
        schema_names.PATIENT: image.patient,
        schema_names.SPLIT: split,
        **dict(image.columns),
    }
    example = Example()
    feature = example.features.feature
    feature[schema_names.IMAGE].bytes_list.value.append(valid.encoded)
    feature[schema_names.LABEL].int64_list.value.append(classes.index(image.label))
    feature[schema_names.WIDTH].int64_list.value.append(width)
    feature[schema_names.HEIGHT].int64_list.value.append(height)
    for name, text in texts.items():
        feature[name].bytes_list.value.append(text.encode())
    scalars = image_scalars(valid.pixels)
    for name, value in scalars.items():
        feature[name].float_list.value.append(value)
    record = example.SerializeToString(deterministic=True)
    return IngestedImage(record, _pixel_hash(valid.pixels), scalars)


def _pixel_hash(pixels: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def ingest_status(image: ImageFile, split: str, **outcome: Any) -> dict[str, Any]:
    """Make the ingest status of an image: a row that `ingest_report` counts.

    Args:
        image: The image.
        split: Split of the image.
        outcome: `pixels`, the hash of the pixels, and `scalars`, or `reason`, for which the image is
            quarantined; and `sha256` of the file if it could be read.
    """
    return {"split": split, "label": image.label, "patient": image.patient, "path": image.path, **outcome}


def training_scalars(
    statuses: Iterable[Mapping[str, Any]], *, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return patient, label and scalars of the training images, ordered by their paths.

    Args:
        statuses: The `ingest_status` of each image.
        classes: Class names in the order of the labels.
    """
    return [
        {
            schema_names.PATIENT: status["patient"],
            schema_names.LABEL: classes.index(status["label"]),
            **status["scalars"],
        }
        for status in sorted(statuses, key=itemgetter("path"))
        if status["split"] == schema_names.TRAIN and "scalars" in status
    ]


def ingest_report(
    catalog: Catalog, statuses: Iterable[Mapping[str, Any]], *, classes: Sequence[str]
) -> dict[str, Any]:
    """Report on every file of a data set.

    Args:
        catalog: Catalog of the data set.
        statuses: The `ingest_status` of each image.
        classes: Class names in the order of the labels.

    Returns:
        A tree for JSON:
        `images`: number of ingested images, by split and class.
        `patients`: number of their patients, by split and class.
        `quarantined`: path and reason of each file that was not ingested.
        `excluded_duplicates`: paths of second copies of a slide.
        `ignored_files`: names of other files beside the images.
        `duplicates`: groups of images with identical pixels of several patients: path, patient and split of
        each image.
    """
    images: Counter[tuple[str, str]] = Counter()
    patients: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    quarantined = list(catalog.quarantined)
    images_by_pixels: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for status in statuses:
        if "reason" in status:
            quarantined.append(Quarantined(printable(status["path"]), status["reason"]))
            continue
        images[status["split"], status["label"]] += 1
        patients[status["split"], status["label"]].add(status["patient"])
        images_by_pixels[status["pixels"]].append(
            {name: status[name] for name in ("path", "patient", "split")}
        )
    return {
        "images": {s: {label: images[s, label] for label in classes} for s in schema_names.SPLITS},
        "patients": {s: {label: len(patients[s, label]) for label in classes} for s in schema_names.SPLITS},
        "quarantined": [asdict(file) for file in sorted(quarantined)],
        "excluded_duplicates": [image.path for image in catalog.excluded_duplicates],
        "ignored_files": list(catalog.ignored_files),
        "duplicates": sorted(
            (
                sorted(group, key=itemgetter("path"))
                for group in images_by_pixels.values()
                if len({image["patient"] for image in group}) > 1
            ),
            key=lambda group: group[0]["path"],
        ),
    }
