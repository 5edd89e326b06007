"""`knet predict`, in this process, against a fake server."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import HEAVY, Finished, knet_without
from fake_model_server import FakeModelServer
from PIL import Image

from knet.base.errors import UserError
from knet.client.files import COLUMNS
from pipeline.commands.prediction_io import list_files

NOT_IN_BASE = (*HEAVY, "numpy", "pandas", "PIL", "pydantic", "yaml")  # libraries


@pytest.fixture
def fake() -> Iterator[FakeModelServer]:
    server = FakeModelServer()
    yield server
    server.stop()


@pytest.fixture
def predict(
    fake: FakeModelServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    knet: Callable[..., Finished],
) -> Callable[..., Finished]:
    """Run the command in a folder with three files in `in`, one of which is no image."""
    monkeypatch.chdir(tmp_path)
    Path("in/deep").mkdir(parents=True)
    for name, content in {"a.png": "0.25", "b.png": "0.0625", "deep/c.png": "bad", "notes.txt": ""}.items():
        Path("in", name).write_text(content)

    def run(*arguments: object, stdin: str = "") -> Finished:
        server = () if "--server" in arguments else ("--server", fake.address)
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        return knet("predict", *arguments, *server)

    return run


def test_table_of_predictions(predict: Callable[..., Finished]) -> None:
    done = predict("in/a.png", "in/b.png")
    assert (done.code, done.stderr) == (0, "")
    header, _, *rows = done.stdout.strip().splitlines()
    assert header.split() == ["image", "label", "malignant", "out", "of", "distribution"]
    assert [row.split() for row in rows] == [
        ["in/a.png", "benign", "0.250"],
        ["in/b.png", "benign", "0.062", "blurred;", "noisy"],
    ]


def test_bad_files_of_folder_are_listed(predict: Callable[..., Finished]) -> None:
    done = predict("in")
    assert done.code == 1
    assert "in/a.png" in done.stdout and "c.png" not in done.stdout
    note, ignored, listed, reason = done.stderr.splitlines()
    assert (note, ignored) == ("note: ignored 1 other file:", "  in/notes.txt")
    assert listed == "1 of 3 images not classified:"
    assert reason.startswith("  in/deep/c.png: 127.0.0.1:") and reason.endswith("(must be PNG or JPEG)")


def test_long_lists_say_what_they_leave_out(predict: Callable[..., Finished]) -> None:
    for number in range(12):
        Path("in", f"{number}.png").write_text("bad")
        Path("in", f"{number}.txt").touch()
    lines = predict("in").stderr.splitlines()
    assert lines[0] == "note: ignored 13 other files:" and lines[11] == "  and 3 more"
    assert lines[12] == "13 of 15 images not classified:"
    assert lines[-1] == "  and 3 more; --output FILE lists all"
    assert predict("in", "--output", "out.csv").stderr.splitlines()[-1] == "  and 3 more; out.csv lists all"


def test_no_prediction_exits_with_2(predict: Callable[..., Finished]) -> None:
    done = predict("in/deep/c.png", "in/gone.png")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 2 of 2 images not classified:\n  in/deep/c.png: ")


@pytest.mark.parametrize("names", ["in/a.png\0in/b.png\0", "\ufeff\0i\0n\0"], ids=["find -print0", "UTF-16"])
def test_other_lists_on_standard_input_are_an_error(predict: Callable[..., Finished], names: str) -> None:
    done = predict("-", stdin=names)
    assert done.code == 2
    assert done.stderr == (
        "error: standard input is no list of file names in UTF-8: write one file name a line\n"
    )


def test_closed_standard_input_is_an_error() -> None:
    with pytest.raises(UserError, match="standard input names no image"):
        list_files(["-"], stdin=None)


def test_json_of_names_on_standard_input(predict: Callable[..., Finished], fake: FakeModelServer) -> None:
    done = predict("-", "--format", "json", stdin="in/a.png\n\nin/deep/c.png\nin/a.png\n")
    assert done.code == 1
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["image"], first["score"], first["model_version"]) == ("in/a.png", 0.25, 7)
    assert second["image"] == "in/deep/c.png" and "score" not in second and second["error"]
    assert fake.requests[0].inputs["image"].string_val == [b"0.25", b"bad"]  # each once
    assert predict("-").stderr == "error: standard input names no image: write one file name a line\n"


def test_csv_of_folder(predict: Callable[..., Finished]) -> None:
    rows = list(csv.DictReader(io.StringIO(predict("in", "--format", "csv").stdout)))
    assert [(row["image"], row["score"], bool(row["error"])) for row in rows] == [
        ("in/a.png", "0.25", False),
        ("in/b.png", "0.0625", False),
        ("in/deep/c.png", "", True),
    ]


def test_output_csv_is_resumed(predict: Callable[..., Finished], fake: FakeModelServer) -> None:
    first = predict("in", "--output", "out.csv")
    assert (first.code, first.stdout) == (1, "")
    text, request_count = Path("out.csv").read_text("utf-8"), len(fake.requests)
    again = predict("in", "--output", "out.csv")
    assert (again.code, again.stderr) == (1, first.stderr)
    assert (Path("out.csv").read_text("utf-8"), len(fake.requests)) == (text, request_count)


def test_format_applies_to_patients_not_to_output(predict: Callable[..., Finished]) -> None:
    Path("m.csv").write_text("path,group\nin/a.png,P 1\nin/b.png,P 1\n")
    for name in ("out.csv", "out.json"):
        done = predict("in/a.png", "--patients", "m.csv", "--output", name, "--format", "json")
        assert json.loads(done.stdout)["patient"] == "P 1"
    assert Path("out.csv").read_text("utf-8").startswith("image,sha256,")
    assert json.loads(Path("out.json").read_text("utf-8"))["image"] == "in/a.png"


def test_table_prints_long_names(predict: Callable[..., Finished]) -> None:
    long = Path("in", "x" * 200 + "1.png")
    long.write_text("0.5")
    printed = predict(long).stdout
    assert printed.count("x") == 200 and "1.png" in printed


@pytest.mark.parametrize("form", ["json", "table"])
def test_output_of_other_formats_equals_printed(predict: Callable[..., Finished], form: str) -> None:
    printed = predict("in/a.png", "--format", form).stdout
    done = predict("in/a.png", "--format", form, "--output", "out")
    assert (done.code, done.stdout) == (0, "")
    assert Path("out").read_text("utf-8") == printed


def test_patients_as_csv_and_table(predict: Callable[..., Finished], fake: FakeModelServer) -> None:
    Path("m.csv").write_text("path,group\nin/a.png,P 1\nin/b.png,P 1\nin/deep/c.png,P 2\n")
    done = predict("in", "--patients", "m.csv", "--output", "out.csv", "--format", "csv")
    assert done.code == 1
    assert list(csv.DictReader(io.StringIO(done.stdout))) == [
        {
            "patient": "P 1",
            "label": "benign",
            "positive_class": "malignant",
            "mean_score": "0.15625",
            "positive_share": "0.0",
            "images": "2",
            "flagged_ood": "1",
            "model_version": "7",
        }
    ]
    assert len(Path("out.csv").read_text("utf-8").splitlines()) == 4
    request_count = len(fake.requests)
    table = predict("in", "--patients", "m.csv", "--output", "out.csv")  # of answers that are there
    assert table.stdout.split("\n")[-3:-1][0].split() == ["P", "1", "benign", "0.156", "0%", "2", "1"]
    assert len(fake.requests) == request_count
    unknown = predict("in", "--patients", "breakhis")
    assert unknown.code == 2 and "in/a.png: the name is outside the grammar" in unknown.stderr
    assert len(fake.requests) == request_count


@pytest.fixture
def three_classes(predict: Callable[..., Finished], fake: FakeModelServer) -> None:
    """A model of three classes, and three images of two patients."""
    fake.classes = (b"a", b"b", b"c")
    texts = {"a": "0.5 0.375 0.125", "b": "0.125 0.625 0.25", "c": "0.25 0.25 0.5"}
    for name, text in texts.items():
        Path(f"{name}.png").write_text(text)
    Path("m.csv").write_text("path,group\na.png,P 1\nb.png,P 1\nc.png,P 2\n")


IMAGES = ("a.png", "b.png", "c.png")


def cells(table: str) -> list[list[str]]:
    return [
        re.split(r" {2,}", line.strip()) for line in table.splitlines() if line.strip() and "─" not in line
    ]


@pytest.mark.usefixtures("three_classes")
def test_three_classes_in_every_format(predict: Callable[..., Finished]) -> None:
    assert cells(predict(*IMAGES).stdout) == [
        ["image", "label", "probability", "out of distribution"],
        ["a.png", "a", "0.500"],
        ["b.png", "b", "0.625"],
        ["c.png", "c", "0.500"],
    ]
    assert cells(predict(*IMAGES, "--patients", "m.csv").stdout) == [
        ["patient", "label", "mean probability", "images", "out of distribution"],
        ["P 1", "b", "0.500", "2", "0"],
        ["P 2", "c", "0.500", "1", "0"],
    ]
    image = json.loads(predict("a.png", "--format", "json").stdout)
    assert (image["threshold"], image["probabilities"]) == (None, {"a": 0.5, "b": 0.375, "c": 0.125})
    assert "positive_score" not in image
    patient = json.loads(predict("a.png", "--patients", "m.csv", "--format", "json").stdout)
    assert patient == {
        "patient": "P 1", "label": "a", "mean_score": 0.5, "images": 1, "flagged_ood": 0, "model_version": 7,
        "probabilities": {"a": 0.5, "b": 0.375, "c": 0.125},
    }  # fmt: skip
    header, _ = predict("a.png", "--format", "csv").stdout.splitlines()
    assert tuple(header.split(",")) == COLUMNS


@pytest.mark.usefixtures("three_classes")
def test_positive_group_in_every_format(predict: Callable[..., Finished], fake: FakeModelServer) -> None:
    fake.group = (1, 2)
    assert cells(predict("in/deep/c.png", *IMAGES).stdout) == [
        ["image", "label", "probability", "positive score", "positive", "out of distribution"],
        ["a.png", "a", "0.500", "0.500", "yes"],
        ["b.png", "b", "0.625", "0.875", "yes"],
        ["c.png", "c", "0.500", "0.750", "yes"],
    ]
    table = predict(*IMAGES, "--patients", "m.csv", "--output", "out.csv").stdout
    assert cells(table)[1] == ["P 1", "b", "0.500", "0.688", "yes", "100%", "2", "0"]
    rows = list(csv.DictReader(io.StringIO(predict("in/deep/c.png", "a.png", "--format", "csv").stdout)))
    assert [(row["label"], row["positive_score"], row["positive"]) for row in rows] == [
        ("", "", ""),
        ("a", "0.5", "true"),
    ]
    printed = Path("out.csv").read_text("utf-8")
    assert next(csv.DictReader(io.StringIO(printed))) == rows[1]
    patients = predict("a.png", "--patients", "m.csv", "--format", "csv").stdout
    assert list(csv.DictReader(io.StringIO(patients))) == [
        {
            "patient": "P 1", "label": "a", "mean_score": "0.5", "positive_share": "1.0", "images": "1",
            "flagged_ood": "0", "model_version": "7", "positive_score": "0.5", "positive": "true",
            "probabilities": '{"a": 0.5, "b": 0.375, "c": 0.125}',
        }
    ]  # fmt: skip


def test_explain_draws_heat_maps(predict: Callable[..., Finished], fake: FakeModelServer) -> None:
    Image.new("RGB", (30, 20), "white").save("in/a.png")
    done = predict("in/a.png", "in/gone.png", "--explain", "heat")
    assert done.code == 1
    picture = np.asarray(Image.open("heat/a.png.heat.png"))
    assert picture.shape == (20, 30, 3)
    assert picture[0, 0].tolist() == [255, 255, 255] and picture[0, -1, 0] < 120
    request_count = len(fake.requests)
    predict("in/a.png", "--output", "out.csv")
    Path("heat/a.png.heat.png").unlink()
    for _ in range(2):  # of an answer that is there already
        assert predict("in/a.png", "--output", "out.csv", "--explain", "heat").code == 0
        assert Path("heat/a.png.heat.png").is_file()
    assert len(fake.requests) == request_count + 2
    assert predict("in", "--explain", "in/heat").stderr.endswith("a folder of images: give another folder\n")


def test_token_label_and_model_are_sent(
    predict: Callable[..., Finished], fake: FakeModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNET_TOKEN", "of-the-environment")
    assert predict("in/a.png").code == 0
    assert fake.metadata["authorization"] == "Bearer of-the-environment"
    fake.requests.clear()
    Path("token").write_text("secret\n")
    done = predict("in/a.png", "--token-file", "token", "--label", "stable", "--model", "other")
    assert done.code == 0
    spec = fake.requests[0].model_spec
    assert (spec.name, spec.version_label) == ("other", "stable")
    assert fake.metadata["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--token-file", "none"], "none: the token cannot be read (No such file or directory)"),
        (["--tls-ca", "none.pem"], "none.pem: No such file or directory; give a PEM file"),
        (["--tls-cert", "none.pem"], "give both or neither"),
        (["--version", "7", "--label", "stable"], "give one of the two"),
        (["--timeout", "0"], "timeout (0) must be above 0"),
        (["--patients", "none.csv"], "none.csv: no such file; give breakhis or a CSV file"),
        (["--format", "xml"], "'xml' is not one of"),
    ],
)
def test_wrong_options_exit_with_2(
    predict: Callable[..., Finished], fake: FakeModelServer, arguments: list[str], text: str
) -> None:
    done = predict("in", *arguments)
    assert (done.code, done.stdout, fake.requests) == (2, "", [])
    assert text in done.stderr and "Traceback" not in done.stderr


def test_unwritable_outputs_exit_with_2(predict: Callable[..., Finished]) -> None:
    Image.new("RGB", (30, 20), "white").save("a.png")
    done = predict("a.png", "--format", "json", "--output", "a.png/out.json")
    assert done.code == 2 and "give a file that can be written" in done.stderr
    done = predict("a.png", "--explain", "in/notes.txt/heat")
    assert done.code == 2 and "error: the heat map of a.png cannot be drawn to" in done.stderr


@pytest.mark.usefixtures("predict")
def test_base_install_suffices_without_heat_maps(fake: FakeModelServer) -> None:
    command = ("predict", "in/a.png", "--server", fake.address)
    done, explained = (
        knet_without(NOT_IN_BASE, *command, *more)
        for more in (("--output", "out.csv"), ("--explain", "heat"))
    )
    assert (done.code, done.stderr) == (0, "")
    assert len(Path("out.csv").read_text("utf-8").splitlines()) == 2
    assert explained.code == 2
    assert explained.stderr == "error: --explain needs numpy: pip install numpy pillow\n"


def test_tiff_bmp_and_webp_are_converted(
    predict: Callable[..., Finished], fake: FakeModelServer, tmp_path: Path
) -> None:
    for name, mode in {"a.tif": "RGB", "b.BMP": "RGB", "c.webp": "RGB", "grey.tiff": "L"}.items():
        Path("scans").mkdir(exist_ok=True)
        Image.new(mode, (40, 32), 255).save(Path("scans", name))
    done = predict("scans", "--output", "out.csv", "--explain", "heat")
    assert done.code == 1
    assert done.stderr.splitlines()[1:] == [
        "  scans/grey.tiff: cannot be converted to PNG: not 8-bit RGB but grey"
    ]
    assert all(image.startswith(b"\x89PNG") for image in fake.images)
    assert sorted(path.name for path in Path("heat").iterdir()) == [
        *("a.tif.heat.png", "b.BMP.heat.png", "c.webp.heat.png")
    ]
    with Path("out.csv").open(encoding="utf-8", newline="") as lines:
        digests = {row["image"]: row["sha256"] for row in csv.DictReader(lines)}
    files = sorted(Path("scans").iterdir())
    assert digests == {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    request_count = len(fake.requests)
    predict("scans", "--output", "out.csv")
    assert len(fake.requests) == request_count  # all have a row


@pytest.mark.usefixtures("predict")
def test_tiff_without_pillow_names_the_remedy(fake: FakeModelServer) -> None:
    Image.new("RGB", (40, 32)).save("a.tif")
    done = knet_without(NOT_IN_BASE, "predict", "in/a.png", "a.tif", "--server", fake.address)
    assert done.code == 1 and "in/a.png" in done.stdout
    assert done.stderr.splitlines() == [
        "1 of 2 images not classified:",
        "  a.tif: converting it to PNG needs Pillow: pip install pillow, or give a PNG or JPEG file",
    ]


def test_several_versions_are_noted(predict: Callable[..., Finished], fake: FakeModelServer) -> None:
    predict("in/a.png", "--output", "out.csv")
    fake.version = 8
    done = predict("in/a.png", "in/b.png", "--output", "out.csv")
    assert (done.code, done.stderr) == (0, "note: the predictions are of the versions 7, 8\n")
    Path("m.csv").write_text("path,group\nin/a.png,P 1\nin/b.png,P 1\n")
    done = predict("in/a.png", "in/b.png", "--output", "out.csv", "--patients", "m.csv")
    assert done.code == 2 and "predictions for patient P 1 are of the versions 7, 8" in done.stderr
