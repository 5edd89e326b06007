"""Preflight checks."""

from __future__ import annotations

import functools
import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import schemas
from knet.base.errors import UserError
from knet.data.breakhis import SLICES
from knet.data.catalog import read_catalog
from knet.data.sample_data import write_sample_data
from knet.data.schema_edits import read_schema
from knet.data.settings import DataConfig
from knet.data.split import make_split
from knet.runs.record import Data, RunRecord
from knet.runs.workspace import Workspace
from pipeline import preflight
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.preflight import (
    check_job_endpoint,
    check_split_file,
    check_weights,
    fetch_weights,
    gate_refusal,
    prepare_data,
    schema_file,
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic images of 12 patients, six of each class; the first of each has two slides."""
    return write_sample_data(tmp_path_factory.mktemp("samples"), patients=12, width=32, height=32)


@pytest.fixture
def config_of(tmp_path: Path) -> Callable[..., Config]:
    """Makes a demo configuration that writes to a folder of the test."""
    return lambda *overrides: load_config("demo", [f"output={tmp_path / 'out'}", *overrides])


def test_prepare_data_counts_patients_and_images_by_split(
    samples: Path, config_of: Callable[..., Config]
) -> None:
    shares = ("data.split.test_share=0.17", "data.split.validation_share=0.4")
    data = prepare_data(config_of(f"data.source={samples}", *shares))
    assert data.patients == {"train": 6, "validation": 4, "test": 2}
    assert sum(data.images.values()) == len(list(samples.rglob("*.png"))) == 56
    assert data.excluded_duplicates == 0


def test_gate_refusal_counts_the_test_patients_of_each_class(
    samples: Path, config_of: Callable[..., Config]
) -> None:
    gate = ("gate.minimum={recall: 0.5}", "gate.min_patients=3")
    for share, refused in ((0.34, True), (0.5, False)):
        config = config_of(f"data.source={samples}", f"data.split.test_share={share}", *gate)
        data = prepare_data(config)
        assert sum(data.test_patients.values()) == data.patients["test"]
        assert bool(gate_refusal(config, data.test_patients)) == refused


def test_prepare_data_by_image_counts_patients_in_several_splits(
    samples: Path, config_of: Callable[..., Config]
) -> None:
    leaking = ("data.split.unit=image", "data.split.allow_patient_leak=true")
    config = config_of(f"data.source={samples}", "gate.minimum={}", *leaking)
    data = prepare_data(config)
    assert sum(data.patients.values()) > 12 and sum(data.test_patients.values()) == data.patients["test"]
    assert "the split is by image" in str(gate_refusal(config, data.test_patients))


def test_prepare_data_calls_synthetic_images_synthetic(
    samples: Path, config_of: Callable[..., Config]
) -> None:
    assert prepare_data(config_of(f"data.source={samples}")).synthetic


@pytest.mark.parametrize("named", ["..", "histology_slides", "histology_slides/breast"])
def test_prepare_data_calls_any_synthetic_folder_synthetic(
    samples: Path, config_of: Callable[..., Config], named: str
) -> None:
    assert prepare_data(config_of(f"data.source={samples / named}")).synthetic


def test_prepare_data_calls_a_synthetic_archive_synthetic(
    samples: Path, config_of: Callable[..., Config], tmp_path: Path
) -> None:
    archive = shutil.make_archive(str(tmp_path / "data"), "zip", samples.parent, samples.name)
    assert prepare_data(config_of(f"data.source={archive}")).synthetic


def test_prepare_data_does_not_call_real_images_synthetic(
    shared_data: Path, config_of: Callable[..., Config]
) -> None:
    data = prepare_data(config_of(f"data.source={shared_data / 'breakhis_real'}"))
    assert not data.synthetic
    assert (sum(data.patients.values()), sum(data.images.values())) == (29, 116)


def test_prepare_data_without_source_writes_samples(
    config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = functools.partial(write_sample_data, width=32, height=32)
    monkeypatch.setattr(preflight, "write_sample_data", small)
    data = prepare_data(config_of("data.sample.patients=14"))
    assert data.synthetic
    assert sum(data.patients.values()) == 14
    assert data.source.is_relative_to(tmp_path / "out")


def test_prepare_data_writes_samples_for_each_seed(
    config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = functools.partial(write_sample_data, width=32, height=32)
    monkeypatch.setattr(preflight, "write_sample_data", small)
    one, other = (prepare_data(config_of("data.sample.patients=12", f"seed={seed}")) for seed in (1, 2))
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "name", [".", "BreaKHis_v1", "BreaKHis_v1/histology_slides", "BreaKHis_v1/../BreaKHis_v1"]
)
def test_prepare_data_resolves_the_source(
    samples: Path, config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(samples.parent)
    assert prepare_data(config_of(f"data.source={name}")).source == samples / "histology_slides/breast"


def test_prepare_data_counts_excluded_duplicates(
    samples: Path, config_of: Callable[..., Config], breakhis: Callable[..., Path]
) -> None:
    names = [path.name for path in samples.rglob("*.png")]
    copies = [f"SOB_M_{code}-14-13412-40-001.png" for code in ("DC", "LC")]
    root = breakhis(*names, *copies)
    assert prepare_data(config_of(f"data.source={root}")).excluded_duplicates == 1
    kept = prepare_data(config_of(f"data.source={root}", "data.keep_duplicate_slides=true"))
    assert (kept.excluded_duplicates, sum(kept.images.values())) == (0, len(names) + 2)


def test_prepare_data_has_the_notes_of_the_split(samples: Path, config_of: Callable[..., Config]) -> None:
    data = prepare_data(config_of(f"data.source={samples}"))
    assert any(note.startswith("subtype adenosis: 2 patients, too few") for note in data.split_notes)
    assert not any(note.startswith("magnification") for note in data.split_notes)


def test_prepare_data_with_a_frozen_split_ignores_the_seed(
    samples: Path, config_of: Callable[..., Config], tmp_path: Path
) -> None:
    config = config_of(f"data.source={samples}")
    frozen = make_split(read_catalog(samples).images, **config.with_slices(SLICES).split_settings).frozen()
    (tmp_path / "split.json").write_text(json.dumps(frozen), encoding="utf-8")
    data = prepare_data(
        config_of(f"data.source={samples}", f"data.split.file={tmp_path}/split.json", "seed=9")
    )
    assert data.split_sha256 == frozen["sha256"] == prepare_data(config).split_sha256


def test_prepare_data_does_not_count_absent_patients(
    samples: Path, config_of: Callable[..., Config], tmp_path: Path, breakhis: Callable[..., Path]
) -> None:
    config = config_of(f"data.source={samples}")
    split = make_split(read_catalog(samples).images, **config.with_slices(SLICES).split_settings)
    (tmp_path / "split.json").write_text(json.dumps(split.frozen()), encoding="utf-8")
    absent = next(patient for patient, name in split.assignment.items() if name == "train")
    root = breakhis(*(path.name for path in samples.rglob("*.png") if absent not in path.name))
    data = prepare_data(config_of(f"data.source={root}", f"data.split.file={tmp_path}/split.json"))
    assert sum(data.patients.values()) == 11
    assert f"1 patients of split.json are not in the data: {absent}" in data.split_notes


def test_check_split_file_names_a_missing_file(config_of: Callable[..., Config], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"data\.split\.file: no such file: {tmp_path}/none; name a split"):
        check_split_file(config_of(f"data.split.file={tmp_path}/none"))
    check_split_file(config_of())


def test_prepare_data_numbers_new_data_as_a_span(
    samples: Path,
    config_of: Callable[..., Config],
    breakhis: Callable[..., Path],
    picture: Callable[..., bytes],
) -> None:
    root = breakhis(*(path.name for path in samples.rglob("*.png")))
    spans = [prepare_data(config_of(f"data.source={root}")).span for _ in range(2)]
    breakhis("SOB_B_A-15-1-40-001.png", content=picture(colour=(1, 1, 1)))
    grown = prepare_data(config_of(f"data.source={root}"))
    assert (*spans, grown.span) == (1, 1, 2)
    (root / "histology_slides/breast/benign/SOB/adenosis/SOB_B_A_15-1/40X/SOB_B_A-15-1-40-001.png").unlink()
    assert prepare_data(config_of(f"data.source={root}")).span == 1


def test_prepare_data_refuses_misnamed_files_unless_allowed(
    samples: Path, config_of: Callable[..., Config], breakhis: Callable[..., Path]
) -> None:
    root = breakhis(*(path.name for path in samples.rglob("*.png")))
    (root / "histology_slides/breast/benign/scan.png").touch()
    with pytest.raises(
        UserError, match=r"(?s)1 of 57 files .* cannot be used:\n  benign/scan\.png: the name"
    ):
        prepare_data(config_of(f"data.source={root}"))
    data = prepare_data(config_of(f"data.source={root}", "data.max_invalid_fraction=0.02"))
    assert sum(data.images.values()) == 56


def test_prepare_data_names_a_slice_that_is_no_column(
    samples: Path, config_of: Callable[..., Config]
) -> None:
    with pytest.raises(
        UserError, match=r"data\.slices: stain is not a column of .*, which has slide, subtype"
    ):
        prepare_data(config_of(f"data.source={samples}", "data.slices=[stain]"))


def test_prepare_data_slices_breakhis_by_default(samples: Path, config_of: Callable[..., Config]) -> None:
    assert prepare_data(config_of(f"data.source={samples}")).slices == ("magnification", "subtype")


@pytest.mark.parametrize(
    ("stain", "remedy"),
    [("", r"no further columns; set data\.slices=\[\],"), (",stain", r"set data\.slices=\[stain\],")],
)
def test_prepare_data_of_a_manifest_states_its_columns(
    config_of: Callable[..., Config], tmp_path: Path, picture: Callable[..., bytes], stain: str, remedy: str
) -> None:
    lines = [f"path,label,group{stain}"]
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(picture())
        lines.append(f"{number}.png,{'ab'[number % 2]},{number}{stain and ',HE'}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    settings = (f"data.source={tmp_path}/manifest.csv", "data.classes=[a, b]")
    with pytest.raises(UserError, match=f"data.slices: magnification is not a column .*{remedy}") as caught:
        prepare_data(config_of(*settings, "data.slices=[magnification]"))
    remedied = str(caught.value).partition("; set ")[2].partition("],")[0] + "]"
    for setting in (remedied, "data.slices=null"):  # or without it
        data = prepare_data(config_of(*settings, setting))
        assert data.columns == data.slices == (("stain",) if stain else ())


def test_prepare_data_of_a_manifest_has_columns_and_root(
    config_of: Callable[..., Config], tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    lines = ["path,label,group,stain"]
    (tmp_path / "images").mkdir()
    for number in range(8):
        (tmp_path / "images" / f"{number}.png").write_bytes(picture())
        lines.append(f"{number}.png,{'ab'[number % 2]},{number},HE")
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    data = prepare_data(
        config_of(
            f"data.source={tmp_path}/manifest.csv", f"data.root={tmp_path}/images", "data.classes=[a, b]",
        )
    )  # fmt: skip
    assert (data.source, data.root) == (tmp_path / "manifest.csv", tmp_path / "images")
    assert (data.columns, sum(data.images.values()), data.synthetic) == (("stain",), 8, False)


def test_check_weights_names_a_missing_file(config_of: Callable[..., Config], tmp_path: Path) -> None:
    missing = tmp_path / "missing.h5"
    with pytest.raises(UserError, match=rf"candidates\.vgg16\.weights: no such file: {missing}; give"):
        check_weights(config_of(f"candidates.vgg16.weights={missing}"))


def test_check_weights_refuses_a_file_of_another_width(
    shared_data: Path, config_of: Callable[..., Config]
) -> None:
    weights = shared_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    check_weights(config_of(f"candidates.mobilenet.weights={weights}"))  # alpha 0.25
    with pytest.raises(UserError, match=rf"^candidates\.vgg16\.weights: {weights} does not fit vgg16"):
        check_weights(config_of(f"candidates.vgg16.weights={weights}"))


def test_fetch_weights_names_every_candidate_without_weights(
    config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    imagenet = [f"candidates.{name}.weights=imagenet" for name in ("vgg16", "resnet152")]
    with pytest.raises(UserError) as caught:
        fetch_weights(config_of(*imagenet))
    told = str(caught.value).split("\n")
    assert [line.split(":")[0] for line in told] == [
        f"candidates.{n}.weights" for n in ("vgg16", "resnet152")
    ]
    assert all("no network" in line and str(tmp_path / "models") in line for line in told)


def test_fetch_weights_without_imagenet_fetches_nothing(
    config_of: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("urllib.request.urlopen")
    fetch_weights(config_of())


def test_prepare_data_refuses_more_folds_than_patients(
    samples: Path, config_of: Callable[..., Config]
) -> None:
    few = (f"data.source={samples}", "data.split.test_share=0.17", "data.split.validation_share=0.4")
    assert prepare_data(config_of(*few, "tuning.folds=3")).patients["train"] == 6
    with pytest.raises(UserError, match=r"tuning.folds: 4 needs 4 training patients .* set tuning.folds=3"):
        prepare_data(config_of(*few, "tuning.folds=4"))
    prepare_data(config_of(*few, "tuning=null"))


@pytest.fixture
def data(make_record: Callable[..., RunRecord]) -> Data:
    return make_record().data


def test_schema_file_of_breakhis_is_bundled(data: Data, tmp_path: Path) -> None:
    assert schema_file(load_config("demo"), data, Workspace(tmp_path)) == schemas.BREAKHIS


def test_schema_file_of_subtypes_has_their_labels(data: Data, tmp_path: Path) -> None:
    config = load_config("demo")
    settings = DataConfig(label="subtype", classes=("adenosis", "fibroadenoma", "ductal_carcinoma"))
    of_subtypes = config.model_copy(update={"data": settings})
    found = read_schema(schema_file(of_subtypes, data, Workspace(tmp_path)))
    (label,) = [feature for feature in found.feature if feature.name == "label"]
    assert label.int_domain.max == 2


def test_schema_file_of_a_manifest_has_its_columns(data: Data, tmp_path: Path) -> None:
    manifest = replace(data, root=tmp_path, columns=("stain", "site"))
    schema = read_schema(schema_file(load_config("demo"), manifest, Workspace(tmp_path / "new")))
    assert [feature.name for feature in schema.feature][-2:] == ["stain", "site"]


def test_schema_files_of_two_manifests_are_two_files(data: Data, tmp_path: Path) -> None:
    config, workspace = load_config("demo"), Workspace(tmp_path / "new")
    one, other, again = (
        schema_file(config, replace(data, root=tmp_path, columns=columns), workspace)
        for columns in (("stain",), ("site",), ("stain",))
    )
    assert one == again != other
    assert read_schema(one).feature[-1].name == "stain" and read_schema(other).feature[-1].name == "site"


def test_schema_file_is_the_configured_one(data: Data, tmp_path: Path) -> None:
    mine = tmp_path / "mine.pbtxt"
    mine.write_text('feature { name: "x" }', encoding="utf-8")
    config = load_config("demo", [f"data.schema_file={mine}"])
    assert schema_file(config, data, Workspace(tmp_path)) == mine


def test_schema_file_must_exist(data: Data, tmp_path: Path) -> None:
    config = load_config("demo", [f"data.schema_file={tmp_path / 'none.pbtxt'}"])
    with pytest.raises(UserError, match=r"none\.pbtxt: No such file"):
        schema_file(config, data, Workspace(tmp_path))


@pytest.mark.parametrize("option", ["--job_endpoint=localhost:{port}", "--job_endpoint localhost:{port}"])
def test_check_job_endpoint_without_a_server_names_it(option: str) -> None:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        args = option.format(port=server.getsockname()[1]).split()
        config = load_config("paper", [f"beam.args={['--runner=PortableRunner', *args]}"])
        with pytest.raises(UserError, match=r"^beam\.args: no job server answers at localhost:\d+ \(Conn"):
            check_job_endpoint(config)
        server.listen()
        check_job_endpoint(config)


def test_check_job_endpoint_without_one_passes() -> None:
    check_job_endpoint(load_config("demo"))
