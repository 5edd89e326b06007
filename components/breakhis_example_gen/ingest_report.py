"""What became of every file of a data set: the `ingest` artifact."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any

from components.breakhis_example_gen.catalog import Catalog
from components.breakhis_example_gen.listing import printable
from components.breakhis_example_gen.quarantine import Quarantined
from pipeline import features


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
        "images": {s: {label: images[s, label] for label in classes} for s in features.SPLITS},
        "patients": {s: {label: len(patients[s, label]) for label in classes} for s in features.SPLITS},
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
