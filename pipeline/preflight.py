"""Checks everything a run needs before it starts, so that nothing is half done when something is missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from components.breakhis_example_gen.catalog import check_files, read_catalog
from components.breakhis_example_gen.splits import split_patients
from pipeline import features
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.run_record import Data
from pipeline.sample_data import is_synthetic, write_sample_data
from pipeline.workspace import Workspace


def check_weights(config: Config) -> None:
    """Checks that the weights files are there.

    Raises:
        UserError: one is missing; the text names its field and path.
    """
    for name, candidate in config.candidates.items():
        if candidate.weights_file and not candidate.weights_file.is_file():
            raise UserError(
                f"candidates.{name}.weights: no such file: {candidate.weights}; give a weights file without "
                "top, imagenet or none"
            )


def prepare_data(config: Config) -> Data:
    """Checks images and splits; writes the synthetic sample images first where no folder is given.

    Raises:
        UserError: something is missing or unusable; the text names it.
    """
    folder = config.data.source or _sample_data(config)
    catalog = read_catalog(folder.resolve(), keep_duplicate_slides=config.data.keep_duplicate_slides)
    splits = split_patients(
        catalog.images,
        test_share=config.data.split.test_share,
        validation_share=config.data.split.validation_share,
        seed=config.seed,
    )
    patients = Counter(splits.values())
    images = Counter(splits[image.patient] for image in catalog.images)
    return Data(
        folder=catalog.root,  # one spelling, however the folder was named: it is in the cache key
        fingerprint=check_files(catalog),
        synthetic=is_synthetic(catalog.root),
        patients={split: patients[split] for split in features.SPLITS},
        images={split: images[split] for split in features.SPLITS},
        example=next(
            catalog.root / image.path for image in catalog.images if splits[image.patient] == "test"
        ),
        left_out=len(catalog.left_out),
    )


def _sample_data(config: Config) -> Path:
    sample = config.data.sample
    # A folder for each set of parameters, so that a run with others does not meet the images of these.
    name = f"{sample.patients}-patients-{sample.images_per_magnification}-images-seed-{config.seed}"
    return write_sample_data(
        Workspace(config.output).sample_data / name,
        patients=sample.patients,
        images_per_magnification=sample.images_per_magnification,
        seed=config.seed,
    )
