"""Ingestion of images: TFRecord examples, and the report on every file."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knet.base import schema_names
from knet.base.image_scalars import image_scalars
from knet.base.protos import Example
from knet.base.text import printable
from knet.data.catalog import Catalog
from knet.data.image_checks import Quarantined, validate_image
from knet.data.source import ImageFile


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
) -> Iterator[dict[str, Any]]:
    """Yield patient, label and scalars of the training images, in the order of the statuses.

    Args:
        statuses: The `ingest_status` of each image.
        classes: Class names in the order of the labels.
    """
    for status in statuses:
        if status["split"] == schema_names.TRAIN and "scalars" in status:
            yield {
                schema_names.PATIENT: status["patient"],
                schema_names.LABEL: classes.index(status["label"]),
                **status["scalars"],
            }


def ingest_report(
    catalog: Catalog, statuses: Iterable[Mapping[str, Any]], *, classes: Sequence[str]
) -> dict[str, Any]:
    """Report on every file of a data set.

    Args:
        catalog: Catalog of the data set.
        statuses: The `ingest_status` of each image; iterated twice.
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
    pixels, owners = (
        array("q"),
        array("i"),
    )  # hash of the pixels and number of the patient of each usable image
    numbers: dict[str, int] = {}
    for status in statuses:
        if "reason" in status:
            quarantined.append(Quarantined(printable(status["path"]), status["reason"]))
            continue
        images[status["split"], status["label"]] += 1
        patients[status["split"], status["label"]].add(status["patient"])
        pixels.append(hash(status["pixels"]))
        owners.append(numbers.setdefault(status["patient"], len(numbers)))
    return {
        "images": {s: {label: images[s, label] for label in classes} for s in schema_names.SPLITS},
        "patients": {s: {label: len(patients[s, label]) for label in classes} for s in schema_names.SPLITS},
        "quarantined": [asdict(file) for file in sorted(quarantined)],
        "excluded_duplicates": [image.path for image in catalog.excluded_duplicates],
        "ignored_files": list(catalog.ignored_files),
        "duplicates": _duplicates(statuses, _of_several_patients(pixels, owners)),
    }


def _of_several_patients(pixels: array[int], owners: array[int]) -> set[int]:
    """Return the hashes of pixels that images of several patients have."""
    order = np.argsort(np.frombuffer(pixels, np.int64), kind="stable")
    hashes, patients = np.frombuffer(pixels, np.int64)[order], np.frombuffer(owners, np.int32)[order]
    return set(hashes[1:][(hashes[1:] == hashes[:-1]) & (patients[1:] != patients[:-1])].tolist())


def _duplicates(statuses: Iterable[Mapping[str, Any]], hashes: Set[int]) -> list[list[dict[str, str]]]:
    """Return the groups of images with identical pixels of several patients.

    Args:
        statuses: The `ingest_status` of each image.
        hashes: Hashes of the pixels of such images; hashes of others may be among them.
    """
    if not hashes:
        return []
    images_by_pixels: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for status in statuses:
        if "pixels" in status and hash(status["pixels"]) in hashes:
            images_by_pixels[status["pixels"]].append(
                {name: status[name] for name in ("path", "patient", "split")}
            )
    groups = [
        sorted(group, key=itemgetter("path"))
        for group in images_by_pixels.values()
        if len({image["patient"] for image in group}) > 1
    ]
    return sorted(groups, key=lambda group: group[0]["path"])
