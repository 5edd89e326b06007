"""Executor of BreakHisExampleGen on small data sets, called directly."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts

from components.breakhis_example_gen import executor
from components.breakhis_example_gen.executor import Executor
from components.local_runner import two_processes_from
from knet.base.errors import UserError
from knet.base.image_scalars import image_scalars
from knet.base.png import SIGNATURE, Chunk, read_png
from knet.base.progress import PROGRESS
from knet.data.breakhis import parse_name
from knet.data.catalog import read_catalog
from knet.data.examples import ingested_examples, ingested_images
from knet.data.fingerprint import fingerprint
from knet.data.sample_data import write_sample_data
from knet.data.split import read_split
from pipeline.config.config import BeamConfig
from pipeline.config.load import load_config
from pipeline.runners.beam import beam_args

IN_MEMORY = beam_args(BeamConfig(workers=1))
SETTINGS = load_config("demo", ["data.split.test_share=0.25", "data.slices=[subtype]"]).split_settings


@pytest.fixture(scope="module")
def ingest(tmp_path_factory: pytest.TempPathFactory) -> Ingest:
    """Runs the executor on a data set."""

    def run(source: Path, *, options: Sequence[str] = IN_MEMORY, **changes: Any) -> Ingested:
        out = tmp_path_factory.mktemp("artifacts")
        (out / "examples").mkdir()
        examples, report, splits = (
            standard_artifacts.Examples(),
            standard_artifacts.JsonValue(),
            standard_artifacts.JsonValue(),
        )
        examples.uri, report.uri, splits.uri = (str(out / name) for name in ("examples", "ingest", "splits"))
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(options), tmp_dir=str(out), unique_id="1"
        )
        properties = {
            "data_source": str(source),
            "data_root": "",
            "fingerprint": "",
            "digests": "",
            "span": 3,
            "max_invalid_fraction": 0.0,
            "allow_cross_split_duplicates": 0,
            "split": json.dumps(SETTINGS),
            "keep_duplicate_slides": 0,
            "seed": 0,
            **changes,
        }
        Executor(context).Do({}, {"examples": [examples], "ingest": [report], "splits": [splits]}, properties)
        return Ingested(out / "examples", report.value, splits.value, examples.span)

    return run


@dataclass(frozen=True)
class Ingested:
    """Outputs of ExampleGen."""

    folder: Path
    ingest: dict[str, Any]
    splits: dict[str, Any]
    span: int

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file, by name."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }


Ingest = Callable[..., Ingested]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic images of 12 patients."""
    return write_sample_data(tmp_path_factory.mktemp("samples"), patients=12, width=48, height=32)


@pytest.fixture(scope="module")
def ingested(ingest: Ingest, samples: Path) -> Ingested:
    """The ingested samples."""
    return ingest(samples)


@pytest.fixture
def copy(samples: Path, tmp_path: Path) -> Path:
    """A copy of the samples, to be changed."""
    return shutil.copytree(samples, tmp_path / "BreaKHis_v1")


def test_example_gen_writes_each_image_and_divides_no_patient(ingested: Ingested, samples: Path) -> None:
    paths = {
        split: [path for path, _ in ingested_images(ingested.folder / f"Split-{split}", count=99)]
        for split in ("train", "validation", "test")
    }
    assert sorted(Path(path).name for of in paths.values() for path in of) == sorted(
        path.name for path in samples.rglob("*.png")
    )
    patients = [{path.split("/")[3].split("_")[3][:8] for path in of} for of in paths.values()]
    assert len(set.union(*patients)) == sum(map(len, patients)) == 12
    assert {split: sum(of.values()) for split, of in ingested.ingest["images"].items()} == {
        split: len(of) for split, of in paths.items()
    }
    assert ingested.ingest["quarantined"] == ingested.ingest["duplicates"] == []


def test_example_gen_writes_scalars_of_the_training_images(ingested: Ingested) -> None:
    scalars = pd.read_parquet(ingested.folder / "training_scalars.parquet")
    examples = sorted(ingested_examples(ingested.folder / "Split-train"), key=lambda example: example.path)
    assert scalars["patient"].tolist() == [example.patient for example in examples]
    assert scalars["label"].tolist() == [example.label for example in examples]
    pixels = np.asarray(Image.open(io.BytesIO(examples[0].image)))
    assert scalars.drop(columns=["patient", "label"]).iloc[0].to_dict() == image_scalars(pixels)


def test_example_gen_writes_split_and_span(ingested: Ingested) -> None:
    assert len(read_split(json.dumps(ingested.splits), Path("split.json")).assignment) == 12
    assert ingested.span == 3


@pytest.mark.parametrize("archive", ["data.zip", "data.tar", "data.tar.gz"])
def test_example_gen_of_an_archive_equals_its_folder(
    ingest: Ingest, ingested: Ingested, samples: Path, tmp_path: Path, archive: str
) -> None:
    if archive == "data.zip":
        pack(samples, tmp_path / archive)
    else:
        with tarfile.open(tmp_path / archive, "w:gz" if archive.endswith("gz") else "w") as tar:
            tar.add(samples, "BreaKHis_v1")
    assert ingest(tmp_path / archive).files == ingested.files


@pytest.mark.slow
def test_example_gen_of_two_workers_equals_one(ingest: Ingest, ingested: Ingested, samples: Path) -> None:
    assert ingest(samples, options=beam_args(BeamConfig(workers=2))).files == ingested.files


@pytest.mark.parametrize("mebibytes", [0, 1_000], ids=["two processes", "in memory"])
def test_example_gen_of_automatic_workers_equals_one(
    ingest: Ingest, ingested: Ingested, samples: Path, caplog: pytest.LogCaptureFixture, mebibytes: int
) -> None:
    logger = "components.local_runner"
    caplog.set_level(logging.INFO, logger)
    options = [*beam_args(BeamConfig()), two_processes_from(mebibytes)]
    assert ingest(samples, options=options).files == ingested.files
    messages = [record.getMessage() for record in caplog.records if record.name == logger]
    size = sum(file.stat().st_size for file in samples.rglob("*.png"))
    assert messages == ([f"two worker processes for {size >> 20} MiB"] if mebibytes == 0 else [])


def test_example_gen_orders_images_by_the_seed(ingest: Ingest, ingested: Ingested, samples: Path) -> None:
    one, other = (
        [path for path, _ in ingested_images(of.folder / "Split-train", count=99)]
        for of in (ingested, ingest(samples, seed=1))
    )
    assert one != other and sorted(one) == sorted(other)


@pytest.fixture
def start(copy: Path, tmp_path: Path) -> Callable[[Path], dict[str, str]]:
    """Takes the fingerprint of data as preflight does, and returns the properties that state it."""
    for path in copy.rglob("*"):
        os.utime(path, (1e9, 1e9))  # long before, so that the digests are stored

    def start(source: Path) -> dict[str, str]:
        cache = tmp_path / "fingerprints.json"
        return {"fingerprint": fingerprint(read_catalog(source), cache=cache), "digests": str(cache)}

    return start


def pack(folder: Path, archive: Path) -> Path:
    """Packs a folder, again if the archive exists."""
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, f"BreaKHis_v1/{path.relative_to(folder).as_posix()}")
    return archive


def test_example_gen_accepts_data_with_their_fingerprint(
    ingest: Ingest, ingested: Ingested, copy: Path, start: Callable[..., Any], tmp_path: Path
) -> None:
    assert ingest(copy, **start(copy)).files == ingested.files
    archive = pack(copy, tmp_path / "data.zip")
    assert ingest(archive, **start(archive)).files == ingested.files
    (copy / "notes.txt").write_text("above the classes")
    assert ingest(copy, **{**start(copy), "digests": ""}).files == ingested.files


@pytest.mark.parametrize("change", ["removed", "changed", "new"])
def test_example_gen_fails_on_data_that_changed_since_their_fingerprint(
    ingest: Ingest, copy: Path, start: Callable[..., Any], change: str
) -> None:
    properties = start(copy)
    path = sorted(copy.rglob("*.png"))[0]
    match change:
        case "removed":
            path.unlink()
        case "changed":  # with the same size and time stamp
            path.write_bytes(path.read_bytes()[:-1] + b"\0")
            os.utime(path, (1e9, 1e9))
        case "new":
            path = path.with_name(path.name.replace("-001", "-099"))
            shutil.copy(next(copy.rglob("*.png")), path)
    with pytest.raises(UserError) as caught:
        ingest(copy, **properties)
    assert str(caught.value).endswith(
        f"breast: the data changed while they were read: {path} ({change}); run again once they are complete"
    )
    if change == "changed":
        with pytest.raises(
            UserError, match=f"{path.name}: truncated or damaged"
        ):  # of the new content, read again
            ingest(copy, **start(copy))


def test_example_gen_fails_on_an_archive_that_was_replaced(
    ingest: Ingest, copy: Path, start: Callable[..., Any], tmp_path: Path
) -> None:
    archive = pack(copy, tmp_path / "data.zip")
    properties = start(archive)
    sorted(copy.rglob("*.png"))[0].unlink()
    pack(copy, archive)
    with pytest.raises(UserError, match=r"data\.zip: the data changed while they were read"):
        ingest(archive, **properties)


def damage(root: Path) -> list[str]:
    """Truncates one image, and adds a misnamed file; returns their names."""
    path = sorted(root.rglob("*.png"))[0]
    path.write_bytes(path.read_bytes()[:100])
    path.with_name("stray.txt").touch()
    return [path.name, "stray.txt"]


def test_example_gen_fails_on_unusable_files_with_reasons(ingest: Ingest, copy: Path) -> None:
    image, stray = damage(copy)
    with pytest.raises(UserError, match="2 of 57 files in .*breast cannot be used") as caught:
        ingest(copy)
    assert f"{image}: truncated or damaged" in str(caught.value)
    assert f"{stray}: the name is outside the grammar" in str(caught.value)
    assert "data.max_invalid_fraction=0" in str(caught.value)


def test_example_gen_names_a_png_whose_pixels_end_early(ingest: Ingest, copy: Path) -> None:
    path = sorted(copy.rglob("*.png"))[0]
    header, *_ = read_png(path.read_bytes()).chunks
    width = int.from_bytes(header.data[:4], "big")
    row = Chunk(b"IDAT", zlib.compress(bytes(1 + 3 * width)))  # the stream is complete, and has one row
    path.write_bytes(SIGNATURE + b"".join(one.encode() for one in (header, row, Chunk(b"IEND", b""))))
    with pytest.raises(UserError, match="1 of 56 files in .* cannot be used") as caught:
        ingest(copy)
    assert f"{path.name}: truncated or damaged (its pixels end early)" in str(caught.value)


def test_example_gen_lists_unusable_files_within_the_limit(
    ingest: Ingest, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = damage(copy)
    with caplog.at_level(logging.INFO):
        ingested = ingest(copy, max_invalid_fraction=0.05)
    assert sorted(Path(file["path"]).name for file in ingested.ingest["quarantined"]) == sorted(names)
    assert sum(sum(of.values()) for of in ingested.ingest["images"].values()) == 55
    told = [record.getMessage() for record in caplog.records if record.name == PROGRESS]
    assert any(text.startswith("55 images ingested (train ") and "2 quarantined" in text for text in told)
    assert any(f"{names[0]}: truncated or damaged" in record.getMessage() for record in caplog.records)


def test_example_gen_logs_its_progress(
    ingest: Ingest, samples: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(executor, "_PROGRESS_INTERVAL", 0.001)
    with caplog.at_level(logging.DEBUG, PROGRESS):
        ingest(samples)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    matches = [match for text in told if (match := re.fullmatch(r"(\d+) of 56 images", text))]
    done = [int(match[1]) for match in matches]
    assert done == sorted(done) and {0, 56} <= {*done}


def test_example_gen_fails_on_duplicates_across_splits(ingest: Ingest, copy: Path) -> None:
    split_of = ingest(copy).splits["assignment"]
    first, *others = sorted(copy.rglob("*.png"))
    other = next(path for path in others if split_of[patient(path)] != split_of[patient(first)])
    shutil.copyfile(first, other)
    with pytest.raises(UserError, match="1 images of .* are in several splits") as caught:
        ingest(copy)
    for path in (first, other):
        assert f"({patient(path)}, {split_of[patient(path)]})" in str(caught.value)
    (group,) = ingest(copy, allow_cross_split_duplicates=1).ingest["duplicates"]
    assert {Path(image["path"]).name for image in group} == {first.name, other.name}


def test_example_gen_reports_duplicates_within_a_split(ingest: Ingest, copy: Path) -> None:
    split_of = ingest(copy).splits["assignment"]
    first, *others = sorted(copy.rglob("*.png"))
    same = [path for path in others if split_of[patient(path)] == split_of[patient(first)]]
    other = next(path for path in same if patient(path) != patient(first))
    shutil.copyfile(first, other)
    (group,) = ingest(copy).ingest["duplicates"]
    assert {Path(image["path"]).name for image in group} == {first.name, other.name}


def patient(path: Path) -> str:
    return parse_name(path.name).patient


def test_example_gen_ingests_a_manifest_with_its_columns(ingest: Ingest, shared_data: Path) -> None:
    folder = shared_data / "ood" / "ucsb_breast_cancer_cell"
    manifest = Path(__file__).parents[3] / "examples" / "ucsb" / "manifest.csv"
    settings = {**SETTINGS, "slices": ["array"], "test_share": 0.25, "validation_share": 0.25}
    ingested = ingest(manifest, data_root=str(folder), split=json.dumps(settings))
    assert sum(sum(of.values()) for of in ingested.ingest["images"].values()) == 8
    images = ingested_images(ingested.folder / "Split-train", count=9)
    assert all(path.endswith(".tif") and image.startswith(b"\x89PNG") for path, image in images)


def test_ingest_onto_a_full_disk_says_what_it_needs(
    ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_sample_data(tmp_path / "data", patients=12, images_per_magnification=1, seed=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(UserError, match=r"examples: no space for the ingested images .* needed, 0.0 MB left"):
        ingest(images)
