"""Checks everything a run needs before it starts, so that nothing is half done when something is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import schemas
from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.storage import object_uri
from knet.data.catalog import Catalog, read_catalog
from knet.data.fingerprint import fingerprint
from knet.data.grouping import check_tuning_folds
from knet.data.image_checks import check_quarantine_rate
from knet.data.sample_data import MARKER, is_synthetic, write_sample_data
from knet.data.schema_edits import read_schema
from knet.data.split import make_split
from knet.runs.record import Data
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from pipeline.config.config import Config


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


def fetch_weights(config: Config) -> None:
    """Finds the ImageNet weights of every candidate that starts from them, or has Keras fetch them.

    Raises:
        UserError: some are missing; the text names each, where it comes from and where to put it.
    """
    names = [name for name, candidate in config.candidates.items() if candidate.weights == "imagenet"]
    if not names:
        return
    from knet.models.backbones import imagenet_weights  # with TensorFlow, which takes seconds

    problems = []
    for name in names:
        try:
            imagenet_weights(name, alpha=config.candidates[name].alpha, size=config.image.size)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def check_split_file(config: Config) -> None:
    """Checks that the file which the split is taken from is there.

    Raises:
        UserError: it is missing; the text names its path.
    """
    file = config.data.split.file
    if file and not file.is_file():
        raise UserError(f"data.split.file: no such file: {file}; name a split file or an official fold")


def prepare_data(
    config: Config, *, registry: RunRegistry | None = None, progress: Callable[[str], object] = str
) -> Data:
    """Checks names and splits; writes the synthetic sample images first where no source is given.

    Images are not decoded yet: ExampleGen judges them.

    Args:
        config: the experiment.
        registry: that numbers data sets; none means the one in the configuration's output.
        progress: is told how far it is.

    Raises:
        UserError: something is missing or unusable; the text names it.
    """
    source = config.data.source or _sample_data(config)
    catalog = read_catalog(
        _resolved(source),  # one spelling, however the source was named: it is in the cache key
        root=config.data.root and _resolved(config.data.root),
        classes=config.data.classes,
        keep_duplicate_slides=config.data.keep_duplicate_slides,
    )
    check_quarantine_rate(
        catalog.quarantined,
        images=len(catalog.images),
        max_invalid_fraction=config.data.max_invalid_fraction,
        location=catalog.location,
    )
    config = config.with_slices(catalog.slices)
    check_slices(config, catalog)
    split = make_split(catalog.images, **config.split_settings)
    split_of = split.assignment
    check_folds(config, catalog, split_of)
    images = Counter(split_of[image.patient] for image in catalog.images)
    patients = Counter(split_of[patient] for patient in {image.patient for image in catalog.images})
    workspace = Workspace(config.output)
    digest = fingerprint(catalog, cache=workspace.fingerprints, progress=progress)
    return Data(
        source=catalog.location,
        root=catalog.source.location if catalog.manifest else None,
        fingerprint=digest,
        span=(registry or RunRegistry(workspace.registry)).span(digest),
        synthetic=_is_synthetic(catalog),
        patients={name: patients[name] for name in schema_names.SPLITS},
        images={name: images[name] for name in schema_names.SPLITS},
        columns=catalog.columns,
        slices=config.data.slices or (),
        excluded_duplicates=len(catalog.excluded_duplicates),
        split_notes=split.notes,
        split_sha256=split.sha256,
    )


def _resolved(location: Path) -> Path:
    return location if object_uri(location) else location.resolve()


def check_slices(config: Config, catalog: Catalog) -> None:
    """Checks that the data have the columns to slice evaluation by.

    Raises:
        UserError: one is missing; the text names it, those that there are and what to set.
    """
    unknown = [name for name in config.data.slices or () if name not in catalog.columns]
    if unknown:
        columns = ", ".join(catalog.columns)
        raise UserError(
            f"data.slices: {unknown[0]} is not a column of {catalog.location}, which has "
            f"{columns or 'no further columns'}; set data.slices=[{columns}], or less of it"
        )


def check_folds(config: Config, catalog: Catalog, split_of: Mapping[str, str]) -> None:
    """Checks that the search has enough training patients for its folds.

    Raises:
        UserError: it has not.
    """
    if config.tuning is None:
        return
    training = [image for image in catalog.images if split_of[image.patient] == "train"]
    positive = {image.patient for image in training if image.label == config.data.classes[1]}
    negative = {image.patient for image in training} - positive
    check_tuning_folds([len(negative), len(positive)], folds=config.tuning.folds)


def _is_synthetic(catalog: Catalog) -> bool:
    """Whether the images are drawn; an archive of them holds the marker among its files."""
    names = {name.rpartition("/")[2] for name in catalog.ignored_files}
    return MARKER in names or is_synthetic(catalog.source.location)


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


def schema_file(config: Config, data: Data, workspace: Workspace) -> Path:
    """The configured schema, or the bundled one; a manifest's columns are added to it.

    Raises:
        UserError: the configured one is missing, or is no schema.
    """
    if config.data.schema_file:
        read_schema(config.data.schema_file)
        return config.data.schema_file.resolve()
    if data.root is None:
        return schemas.BREAKHIS
    workspace.root.mkdir(parents=True, exist_ok=True)
    workspace.schema.write_text(schemas.of_images(data.columns), encoding="utf-8")
    return workspace.schema
