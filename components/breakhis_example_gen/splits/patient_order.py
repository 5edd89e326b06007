"""The one random choice of a split: an order of the patients of each class."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from components.breakhis_example_gen.image_file import ImageFile
from pipeline.errors import UserError


def patient_order(images: Iterable[ImageFile], *, classes: Sequence[str], seed: int) -> dict[str, list[str]]:
    """The patients of each class in an order that depends on them and the seed, not on the order of images.

    Raises:
        UserError: a class has no image, or a patient is in two classes.
    """
    labels: dict[str, str] = {}
    for image in images:
        if labels.setdefault(image.patient, image.label) != image.label:
            raise UserError(
                f"patient {image.patient} has both {labels[image.patient]} and {image.label} images; "
                f"check {image.path}"
            )
    order = {}
    for label in classes:
        patients = sorted(patient for patient, of in labels.items() if of == label)
        if not patients:
            raise UserError(f"no {label} images: both classes, {' and '.join(classes)}, are needed")
        random.Random(f"{seed}/{label}").shuffle(patients)
        order[label] = patients
    return order
