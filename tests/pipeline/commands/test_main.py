"""The command line: start-up time, help, configuration and error messages."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from command_line import HEAVY, Finished, knet_without

from knet.data.sample_data import write_sample_data
from pipeline.commands import main, options
from pipeline.config.load import load_config

# Imported by commands, but not for --help.
CONFIGURATION = ("pydantic", "numpy", "yaml", "PIL", "grpc", "rich")

BENIGN = [f"SOB_B_A-14-{number}-40-001.png" for number in range(3)]
MALIGNANT = [f"SOB_M_DC-14-{number}-40-001.png" for number in range(10, 13)]
UNTUNED = ("--set", "tuning=null")  # a search needs more training patients


def test_help_needs_less_than_a_second_of_cpu() -> None:
    assert min(knet_without([], "--help").seconds for _ in range(3)) < 1


def test_help_imports_no_heavy_library() -> None:
    finished = knet_without((*HEAVY, *CONFIGURATION), "--help")
    assert (finished.code, finished.stderr) == (0, "")
    for command in (
        "run", "kubeflow", "serve", "predict", "schema", "config", "data", "sample-data",
        "report", "runs", "compare", "lineage", "experiment", "cache", "monitor",
    ):  # fmt: skip
        assert f"  {command} " in finished.stdout


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "kubeflow",
        "serve",
        "predict",
        "sample-data",
        "report",
        "runs",
        "compare",
        "lineage",
        "config show",
        "config explain",
        "config init",
        "config schema",
        "data describe",
        "data download",
        "schema infer",
        "schema diff",
        "schema update",
        "cache",
        "monitor",
        "experiment folds",
        "experiment leak",
        "experiment paper",
    ],
)
def test_every_command_has_help(knet: Callable[..., Finished], command: str) -> None:
    finished = knet(*command.split(), "--help")
    assert finished.code == 0
    assert f"{command} [OPTIONS]" in finished.stdout.splitlines()[0]


def test_presets_equal_those_of_the_configuration() -> None:
    from pipeline.config.load import PRESETS

    assert options.PRESETS == PRESETS


def test_missing_library_is_named_with_the_remedy() -> None:
    finished = knet_without(["pydantic"], "config", "show")
    assert finished.code == 2
    assert finished.stderr == (
        "error: this command needs pydantic: run pip install '.[pipeline]' ./pipeline in a checkout of the "
        "repository\n"
    )


def test_config_show_output_loads_to_the_same_configuration(
    knet: Callable[..., Finished], tmp_path: Path
) -> None:
    finished = knet("config", "show", "--preset", "paper", "--set", "seed=5", "--set", "head.dropout=0")
    (tmp_path / "shown.yaml").write_text(finished.stdout, encoding="utf-8")
    assert finished.code == 0
    assert load_config(tmp_path / "shown.yaml") == load_config("paper", ["seed=5", "head.dropout=0"])


def test_config_init_begins_a_file_once(knet: Callable[..., Finished], tmp_path: Path) -> None:
    file = tmp_path / "night run.yaml"
    written = knet("config", "init", file, "--preset", "production")
    assert (written.code, written.stdout) == (0, f"written: {file}; knet run --config '{file}'\n")
    assert load_config(file) == load_config("production", ["name=knet-night-run", "output=runs/night-run"])
    content = file.read_bytes()
    again = knet("config", "init", file)
    assert again.code == 2 and "exists; name another file" in again.stderr
    assert file.read_bytes() == content


@pytest.mark.parametrize("order", [1, -1])
def test_preset_beside_a_file_is_refused(knet: Callable[..., Finished], tmp_path: Path, order: int) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\n")
    options = (("--config", str(file)), ("--preset", "paper"))[::order]
    finished = knet("config", "show", *options[0], *options[1])
    assert finished.code == 2
    assert f"--preset beside --config {file}: give one of them" in finished.stderr
    assert "extends: paper" in finished.stderr


def test_config_show_reads_a_file(knet: Callable[..., Finished], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 3\n", encoding="utf-8")
    finished = knet("config", "show", "--config", tmp_path / "mine.yaml")
    assert yaml.safe_load(finished.stdout)["seed"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "show", "--preset", "nightly"], "'nightly' is not one of 'demo', 'paper', 'production'"),
        (
            ["config", "show", "--set", "colour=red"],
            "colour: no such field; allowed here: beam, calibration,",
        ),
        (["config", "show", "--set", "seed"], "--set seed: write it as key.path=value"),
        (["config", "show", "--set", "image.size=1"], "image.size: Input should be greater than or equal to"),
        (["config", "show", "--config", "none.yaml"], "cannot read configuration none.yaml: No such file or"),
        (["run", "--preset", "nightly"], "'nightly' is not one of"),
        (["run", "--set", "colour=red"], "colour: no such field"),
        (
            ["kubeflow", "compile", "--output", "pipeline.json"],
            "--output pipeline.json: Kubeflow accepts files that end",
        ),
        (["sample-data", "somewhere", "--patients", "3"], "patients must be at least 8, not 3"),
        (["data", "download", "somewhere"], "read them at https://web.inf.ufpr.br/vri/databases/"),
        (["predict", "none.png"], "none.png: No such file or directory; give a PNG or JPEG file"),
        (["schema", "diff"], "runs/demo yet: give --data, or run first"),
        (["schema", "infer", "--output", "."], "--output .: the file exists; --force replaces it"),
        (["schema", "update"], "Missing option '--output'"),
        (["predict"], "Missing argument 'IMAGES...'"),
        (["report", "last"], "there is no run in runs/demo yet, and last is not the folder of a run"),
        (["compare", "last", "x"], "there is no run in runs/demo yet"),
        (["lineage", "1"], "no run in runs/demo pushed version 1; none was pushed yet"),
        (["experiment", "folds", "--folds", "1"], "1 is not in the range 2<=x<=20"),
        (
            ["experiment", "folds", "--baseline", "deep"],
            "--baseline deep: no such candidate; name one of mob",
        ),
        (["experiment", "paper", "--scale", "large"], "'large' is not one of 'full', 'smoke'"),
        (["cache", "--remove-unused", "-1"], "-1.0 is not in the range x>=0"),
        (["serve", "x", "--keep-images", "y"], "--log-key-file and --keep-images need --request-log"),
        (
            ["serve", "x", "--engine", "tf-serving", "--request-log", "y"],
            "--request-log: TF Serving has no such log; let its client write one with",
        ),
        (["monitor", "none.jsonl"], "no request log: none.jsonl is missing; name a log file, or its folder"),
        (
            ["monitor", "x", "--predictions", "y"],
            "--predictions needs --statistics: name the statistics of the training images too",
        ),
        (["monitor"], "Missing argument 'LOG...'"),
        (["paint"], "No such command 'paint'"),
    ],
)
def test_user_error_exits_with_2_and_a_message(
    knet: Callable[..., Finished],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = knet(*arguments)
    assert (finished.code, finished.stdout) == (2, "")
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_experiment_folds_refuses_more_folds_than_patients(
    knet: Callable[..., Finished], tmp_path: Path
) -> None:
    finished = knet("experiment", "folds", "--folds", 20, "--set", f"output={tmp_path / 'out'}")
    assert finished.code == 2
    assert "too few patients for data.split.folds=20: benign has 10" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert not (tmp_path / "out" / "folds").exists()


@pytest.mark.slow
def test_sample_data_writes_images(knet: Callable[..., Finished], tmp_path: Path) -> None:
    finished = knet("sample-data", tmp_path / "drawn", "--patients", 8)
    assert (finished.code, finished.stderr) == (0, "")
    assert finished.stdout == f"synthetic images: {tmp_path / 'drawn' / 'BreaKHis_v1'}\n"
    assert len(list((tmp_path / "drawn").rglob("*.png"))) == 40


@pytest.mark.slow
def test_predict_without_a_server_names_the_address(
    knet: Callable[..., Finished], tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    (tmp_path / "image.png").write_bytes(picture())
    finished = knet("predict", tmp_path / "image.png", "--server", "localhost:1")
    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr.startswith("error: no model server answers at localhost:1: start one there")


# Each of these creates data in a folder, and returns their path.
def missing(folder: Path, breakhis: Callable[..., Path]) -> Path:
    return folder / "none"


def laid_out_otherwise(folder: Path, breakhis: Callable[..., Path]) -> Path:
    (folder / "photos").mkdir()
    return folder / "photos"


def without_images(folder: Path, breakhis: Callable[..., Path]) -> Path:
    (folder / "photos" / "benign").mkdir(parents=True)
    (folder / "photos" / "benign" / "README.txt").touch()
    return folder / "photos"


def with_a_damaged_archive(folder: Path, breakhis: Callable[..., Path]) -> Path:
    (folder / "data.tar.gz").write_bytes(b"\x1f\x8b and no more")
    return folder / "data.tar.gz"


def with_a_wrong_manifest(folder: Path, breakhis: Callable[..., Path]) -> Path:
    (folder / "data.csv").write_text("path,label,group\na.png,odd,1\n", encoding="utf-8")
    return folder / "data.csv"


def with_a_foreign_name(folder: Path, breakhis: Callable[..., Path]) -> Path:
    root = breakhis(*BENIGN, *MALIGNANT)
    next(root.rglob(BENIGN[0])).with_name("scan 1.png").touch()
    return root


def with_one_class(folder: Path, breakhis: Callable[..., Path]) -> Path:
    return breakhis(*MALIGNANT)


def with_too_few_patients(folder: Path, breakhis: Callable[..., Path]) -> Path:
    return breakhis(*BENIGN[:2], *MALIGNANT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "no such data folder or archive: "),
        (laid_out_otherwise, "is not BreaKHis: expected BreaKHis_v1/histology_slides/breast/"),
        (without_images, "no images found in "),
        (with_a_damaged_archive, "cannot be read as an archive"),
        (with_a_wrong_manifest, "line 2: label 'odd' is not one of data.classes, benign and malignant"),
        (with_a_foreign_name, "scan 1.png: the name is outside the grammar SOB_<B|M>_"),
        (with_one_class, "no benign images: both classes, benign and malignant, are needed"),
        (with_too_few_patients, "too few patients: benign has 2 (14-0, 14-1)"),
    ],
)
def test_run_on_unusable_data_exits_before_tensorflow(
    breakhis: Callable[..., Path], tmp_path: Path, make: Callable[..., Path], message: str
) -> None:
    data, output = make(tmp_path, breakhis), tmp_path / "out"
    finished = knet_without(HEAVY, "run", "--data", data, "--set", f"output={output}")
    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr.startswith("error: ")
    assert str(data) in finished.stderr or make in (with_one_class, with_too_few_patients)
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.seconds < 3
    assert {path.name for path in output.iterdir()} == {"run.lock", "run.log"}


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "größe",
        "a: b",
        "[old]",
        "\N{MICROSCOPE}",
    ],
)
def test_run_prints_any_name_of_a_data_folder(
    knet: Callable[..., Finished], tmp_path: Path, name: str
) -> None:
    finished = knet("run", "--data", tmp_path / name, "--set", f"output={json.dumps(str(tmp_path / 'out'))}")
    assert finished.stderr == f"error: no such data folder or archive: {tmp_path / name}\n"


def test_run_names_an_output_folder_it_cannot_create(knet: Callable[..., Finished], tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    finished = knet("run", "--data", tmp_path, "--set", f"output={tmp_path / 'out'}")
    assert finished.code == 2
    assert str(tmp_path / "out") in finished.stderr


def test_run_does_not_interpret_markup_in_folder_names(breakhis: Callable[..., Path], tmp_path: Path) -> None:
    data = breakhis(*BENIGN, *MALIGNANT).rename(tmp_path / "[old]")
    finished = knet_without(HEAVY, "run", "--data", data, *UNTUNED, "--set", f"output={tmp_path / 'out'}")
    assert f"data: {data}/histology_slides/breast (images, span 1)" in finished.stdout


def test_run_counts_data_before_tensorflow_is_imported(breakhis: Callable[..., Path], tmp_path: Path) -> None:
    data = breakhis(*BENIGN, *MALIGNANT)
    finished = knet_without(HEAVY, "run", "--data", data, *UNTUNED, "--set", f"output={tmp_path / 'out'}")
    lines = [line.split() for line in finished.stdout.splitlines()]
    assert lines[:4] == [
        ["data:", f"{data}/histology_slides/breast", "(images,", "span", "1)"],
        ["train", "2", "patients", "2", "images", "33.3%"],
        ["validation", "2", "patients", "2", "images", "33.3%"],
        ["test", "2", "patients", "2", "images", "33.3%"],
    ]


def test_run_notes_slices_missing_from_a_split(breakhis: Callable[..., Path], tmp_path: Path) -> None:
    data = breakhis(*BENIGN, *MALIGNANT, "SOB_B_F-14-0B-40-001.png")
    finished = knet_without(HEAVY, "run", "--data", data, *UNTUNED, "--set", f"output={tmp_path / 'out'}")
    assert "  note: subtype fibroadenoma: 1 patient, too few for three splits; none in " in finished.stdout


def test_compile_names_a_missing_split_file(tmp_path: Path) -> None:
    settings = ("--set", f"data.split.file={tmp_path / 'none'}", "--set", f"output={tmp_path / 'out'}")
    finished = knet_without(HEAVY, "kubeflow", "compile", *settings)
    assert finished.code == 2
    assert f"data.split.file: no such file: {tmp_path / 'none'}" in finished.stderr


def test_compile_names_a_missing_weights_file(tmp_path: Path) -> None:
    setting = f"candidates.vgg16.weights={tmp_path / 'missing.h5'}"
    finished = knet_without(
        HEAVY, "kubeflow", "compile", "--set", setting, "--set", f"output={tmp_path / 'out'}"
    )
    assert finished.code == 2
    assert "candidates.vgg16.weights: no such file" in finished.stderr


@pytest.mark.parametrize(("registry", "noted"), [("/data/registry", True), ("gs://bucket/knet", False)])
def test_compile_notes_ephemeral_paths(
    knet: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: str, noted: bool
) -> None:
    compiler: Any = SimpleNamespace(compile_pipeline=lambda *_, **__: None)  # without TFX
    monkeypatch.setitem(sys.modules, "pipeline.kubeflow.compiler", compiler)
    settings = [f"output={tmp_path}", f"kubeflow.registry={registry}"]
    arguments = [word for setting in settings for word in ("--set", setting)]
    finished = knet("kubeflow", "compile", "--output", str(tmp_path / "pipeline.yaml"), *arguments)
    assert finished.code == 0
    (note,) = (line for line in finished.stderr.splitlines() if line.startswith("note:"))
    assert "push_folder (/models/knet: TF Serving gets no model)" in note
    assert ("registry (/data/registry: reports are lost" in note) == noted


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--yes",), 0)])
def test_compile_for_data_that_can_only_be_refused_needs_yes(
    knet: Callable[..., Finished],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
) -> None:
    confirmed = []
    compiler: Any = SimpleNamespace(compile_pipeline=lambda *_, **given: confirmed.append(given["confirmed"]))
    monkeypatch.setitem(sys.modules, "pipeline.kubeflow.compiler", compiler)
    images = write_sample_data(tmp_path / "images", patients=12, width=32, height=32)
    settings = [f"output={tmp_path}", f"kubeflow.data_source={images}", f"kubeflow.registry={tmp_path}"]
    settings += ["data.split.test_share=0.1", "gate.minimum={recall: 0.5}", "tuning=null"]
    options = [word for setting in settings for word in ("--set", setting)]
    output = str(tmp_path / "pipeline.yaml")
    finished = knet("kubeflow", "compile", "--output", output, *options, *arguments)
    assert (finished.code, confirmed) == (code, [True] if code == 0 else [])
    line = finished.stderr if code else finished.stdout
    assert "1 benign and 1 malignant for test, but gate.min_patients is 2 for each" in line


def test_data_describe_needs_no_tensorflow(breakhis: Callable[..., Path], picture: Any) -> None:
    for number, name in enumerate((*BENIGN, *MALIGNANT)):
        data = breakhis(name, content=picture(size=(32, 32), colour=(number, 0, 0)))
    finished = knet_without(HEAVY, "data", "describe", data, *UNTUNED)
    assert (finished.code, finished.stderr) == (0, "")
    assert ["train", "2", "1", "1", "2", "2"] in [line.split() for line in finished.stdout.splitlines()]
    assert finished.stdout.endswith("0 problems\n")
    assert finished.seconds < 5


def test_data_describe_with_problems_exits_with_1(
    breakhis: Callable[..., Path], knet: Callable[..., Finished]
) -> None:
    finished = knet("data", "describe", breakhis(*BENIGN, *MALIGNANT, content=b""), *UNTUNED, "--json")
    assert finished.code == 1
    assert len(json.loads(finished.stdout)["problems"]) == 6


def test_data_describe_of_real_images_imports_no_tensorflow(shared_data: Path) -> None:
    code = (
        "import sys; from pipeline.commands.main import main\n"
        "try: main()\n"
        "finally: assert not {'tensorflow', 'tfx', 'keras', 'apache_beam'} & sys.modules.keys()"
    )
    command = [sys.executable, "-c", code, "data", "describe", str(shared_data / "breakhis_real"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["counts"]["images"] == 116


def test_full_disk_exits_with_2_and_one_line(
    knet: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/none/file")

    monkeypatch.setattr("knet.runs.caches.cache_files", write)
    finished = knet("cache")
    assert finished.code == 2
    assert finished.stderr.startswith("error: /tmp/none/file: the disk is full (")
    assert finished.stderr.count("\n") == 1


def test_paths_of_options_expand_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main.cli, ["config", "init", "~/begin.yaml"])
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["begin.yaml"]
