"""Preflight checks: everything a run needs, before it starts."""

from __future__ import annotations

import argparse
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import schemas
from knet.base import schema_names
from knet.base.digests import text_digest
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.storage import object_uri
from knet.data.catalog import Catalog, read_catalog
from knet.data.fingerprint import fingerprint
from knet.data.grouping import check_tuning_folds
from knet.data.image_checks import check_quarantine_rate
from knet.data.sample_data import MARKER, is_synthetic, write_sample_data
from knet.data.schema_edits import read_schema
from knet.data.source import ImageFile
from knet.data.split import Split, make_split
from knet.evaluation.gate import Rules, certain_refusal
from knet.models.imagenet import IMAGENET, WantedWeights, fetch_imagenet_weights
from knet.runs.record import Data
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from pipeline.config.config import Config

_ENDPOINT_SECONDS = 5.0


def check_job_endpoint(config: Config) -> None:
    """Check that a job server answers where the Beam options name one.

    Beam itself waits for minutes, without a word.

    Raises:
        UserError: none answers.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--job_endpoint", default="")
    endpoint = parser.parse_known_args(config.beam.args)[0].job_endpoint
    host, _, port = endpoint.rpartition(":")
    if not port.isdigit():
        return  # none, or one that Beam starts
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ENDPOINT_SECONDS):
            pass
    except OSError as error:
        raise UserError(
            f"beam.args: no job server answers at {endpoint} ({error.strerror or error}); start it, or "
            "correct --job_endpoint"
        ) from None


def check_tracking(config: Config) -> None:
    """Check that the server that the run is to be logged to answers within seconds.

    Raises:
        UserError: it does not, or MLflow is not installed.
    """
    if config.tracking.mlflow:
        from knet.runs.tracking import check_server

        check_server(config.tracking.mlflow)


def check_weights(config: Config) -> None:
    """Check that weights files exist and fit their backbones, and that backbones by import path can be built.

    TensorFlow is imported if there is one of either.

    Raises:
        UserError: A file is missing or of another backbone or width, or a backbone is unusable; the message
            states field and path.
    """
    for name, candidate in config.candidates.items():
        if candidate.weights_file and not candidate.weights_file.is_file():
            raise UserError(
                f"candidates.{name}.weights: no such file: {candidate.weights}; give a weights file without "
                "top, imagenet or none"
            )
    for name, item in config.candidates.items():
        backbone, size = item.backbone or name, config.for_candidate(name).image.size
        if item.weights_file:
            from knet.models.weights_file import check_weights_file

            check_weights_file(item.weights_file, backbone, candidate=name, alpha=item.alpha, size=size)
        elif backbone not in IMAGENET:
            from knet.models.backbones import build_backbone

            weights = "imagenet" if item.weights == "imagenet" else None
            build_backbone(backbone, candidate=name, size=size, weights=weights)


def fetch_weights(config: Config) -> None:
    """Download the ImageNet weights of every candidate that needs them, unless Keras has them.

    Raises:
        UserError: A download failed; the message states for each file its URL and where to put it.
    """
    fetch_imagenet_weights(
        {
            name: WantedWeights(item.backbone or name, item.alpha, config.for_candidate(name).image.size)
            for name, item in config.candidates.items()
            if item.weights == "imagenet" and (item.backbone or name) in IMAGENET
        }
    )


def check_split_file(config: Config) -> None:
    """Check that the file of the split exists.

    Raises:
        UserError: It is missing; the message states its path.
    """
    file = config.data.split.file
    if file and not file.is_file():
        raise UserError(f"data.split.file: no such file: {file}; name a split file or an official fold")


def prepare_data(
    config: Config, *, registry: RunRegistry | None = None, progress: Callable[[str], object] = str
) -> Data:
    """Check names and splits of the data; without a source, write synthetic sample images first.

    Images are not decoded: ExampleGen validates them.

    Args:
        config: The configuration.
        registry: Registry that numbers data sets. Default: that of `config.output`.
        progress: Receives a line about the progress of the fingerprint.

    Returns:
        Description of the data, as the run record stores it.

    Raises:
        UserError: The data or a setting is missing or unusable; the message states which.
    """
    source = config.data.source or _sample_data(config)
    config, catalog, split = plan_data(config, source)
    images = Counter(map(split.split_of, catalog.images))
    patients = Counter(
        name for name, _ in {(split.split_of(image), image.patient) for image in catalog.images}
    )
    workspace = Workspace(config.output)
    digest = fingerprint(catalog, cache=workspace.fingerprints, progress=progress)
    return Data(
        source=catalog.location,
        root=catalog.source.location if catalog.manifest else None,
        fingerprint=digest,
        span=(registry or RunRegistry(workspace.registry)).span(digest),
        synthetic=is_synthetic_catalog(catalog),
        patients={name: patients[name] for name in schema_names.SPLITS},
        images={name: images[name] for name in schema_names.SPLITS},
        columns=catalog.columns,
        slices=config.data.slices or (),
        excluded_duplicates=len(catalog.excluded_duplicates),
        split_notes=(*catalog.class_notes, *split.notes),
        split_sha256=split.sha256,
        test_patients=count_test_patients(config, catalog.images, split),
    )


def plan_data(config: Config, source: Path) -> tuple[Config, Catalog, Split]:
    """List the data of a source and split them, without reading images.

    Returns:
        The configuration with `data.slices` set, the catalog and the split.

    Raises:
        UserError: The data or a setting is missing or unusable; the message states which.
    """
    catalog = read_catalog(
        _resolved(source),  # one spelling of each source, since it is in the cache key
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
    check_folds(config, catalog, split)
    return config, catalog, split


def count_test_patients(config: Config, images: Iterable[ImageFile], split: Split) -> dict[str, int]:
    """Count the test patients of each class."""
    test = {(image.label, image.patient) for image in images if split.split_of(image) == schema_names.TEST}
    counts = Counter(label for label, _ in test)
    return {label: counts[label] for label in config.data.classes}


def gate_refusal(
    config: Config, test_patients: Mapping[str, int], *, registry: RunRegistry | None = None
) -> str | None:
    """Return in one line why ModelGate must refuse every model of a run; None if it may pass one.

    Args:
        config: The configuration.
        test_patients: Number of test patients by class.
        registry: Registry of the model in production. Default: that of `config.output`.
    """
    registry = registry or RunRegistry(Workspace(config.output).registry)
    baseline = None if config.gate.margin is None else registry.baseline(graph="")
    return certain_refusal(test_patients, Rules(**config.gate_rules), baseline=baseline)


def _resolved(location: Path) -> Path:
    return location if object_uri(location) else location.resolve()


def check_slices(config: Config, catalog: Catalog) -> None:
    """Check that the data have the slice columns.

    Raises:
        UserError: One is missing; the message lists the existing columns and what to set.
    """
    unknown = [name for name in config.data.slices or () if name not in catalog.columns]
    if unknown:
        columns = ", ".join(catalog.columns)
        raise UserError(
            f"data.slices: {unknown[0]} is not a column of {catalog.location}, which has "
            f"{columns or 'no further columns'}; set data.slices=[{columns}], or fewer of them"
        )


def check_folds(config: Config, catalog: Catalog, split: Split) -> None:
    """Check that each class has enough training patients for the folds of the search.

    Args:
        config: The configuration.
        catalog: Catalog of the data.
        split: The split.

    Raises:
        UserError: A class has too few training patients.
    """
    if config.tuning is None:
        return
    training = (image for image in catalog.images if split.split_of(image) == schema_names.TRAIN)
    counts = Counter(label for label, _ in {(image.label, image.patient) for image in training})
    check_tuning_folds({label: counts[label] for label in config.data.classes}, folds=config.tuning.folds)


def is_synthetic_catalog(catalog: Catalog) -> bool:
    """Tell whether the images are synthetic; an archive of them has the marker among its files."""
    names = {name.rpartition("/")[2] for name in catalog.ignored_files}
    return MARKER in names or is_synthetic(catalog.source.location)


def _sample_data(config: Config) -> Path:
    sample = config.data.sample
    # A folder for each set of parameters, so that runs with different parameters do not collide.
    name = f"{sample.patients}-patients-{sample.images_per_magnification}-images-seed-{config.seed}"
    return write_sample_data(
        Workspace(config.output).sample_data / name,
        patients=sample.patients,
        images_per_magnification=sample.images_per_magnification,
        seed=config.seed,
    )


def schema_file(config: Config, data: Data, workspace: Workspace) -> Path:
    """Return the path of the configured or bundled schema.

    The bundled schema for manifests is written to the workspace, with the columns of the data, and that for
    BreaKHis where there are more than two classes. Its name comes from its content: runs of other data at the
    same time have files of their own.

    Raises:
        UserError: The configured schema is missing or invalid.
    """
    if config.data.schema_file:
        read_schema(config.data.schema_file)
        return config.data.schema_file.resolve()
    classes = config.data.classes
    if data.root is not None:
        content = schemas.manifest_schema(data.columns, classes=classes)
    elif len(classes) == 2:
        return schemas.BREAKHIS
    else:
        content = schemas.breakhis_schema(classes)
    file = workspace.schemas / f"{text_digest(content)[:16]}.pbtxt"
    if not file.is_file():
        atomic_write(file, content)
    return file
