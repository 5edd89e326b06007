"""Tests of the request log: its lines, files, pseudonyms and stored images."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_service_pb2_grpc

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.protos import Example
from knet.client.results import Prediction
from knet.data.ingest import make_example
from knet.data.source import ImageFile
from knet.serving.dev_server.server import DevServer, Options
from knet.serving.monitoring.read_log import read_log
from knet.serving.monitoring.request_log import (
    KEY_VARIABLE,
    DailyFile,
    LogObserver,
    RequestLog,
    measure_image,
    pseudonymize,
    read_key,
    store_image,
)

KEY = b"0123456789abcdef"
PREDICTION = Prediction("malignant", 0.75, {"benign": 0.25, "malignant": 0.75}, 7, False, ("blurred",), 4.5)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for file in sorted(folder.iterdir()) for line in file.read_text("utf-8").splitlines()
    ]


def test_record_writes_scalars_and_image_hash(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    image = picture(colour=(200, 100, 150))
    RequestLog(tmp_path).record(image, PREDICTION)
    (line,) = lines(tmp_path)
    assert datetime.now(timezone.utc) - datetime.fromisoformat(line["time"]) < timedelta(minutes=1)
    assert line["image_sha256"] == hashlib.sha256(image).hexdigest()
    expected = {
        "version": 7, "patient": None, "label": "malignant", "score": 0.75, "distance": 4.5,
        "in_distribution": False, "reasons": ["blurred"], "unusable": None, "image/width": 40,
        "image/height": 32, "image/mean_red": 200, "image/std_blue": 0, "image/laplacian": 0,
    }  # fmt: skip
    assert {name: line[name] for name in expected} == expected


@pytest.mark.parametrize("positive_score", [None, 0.75])
def test_record_of_three_classes_has_all_probabilities(
    tmp_path: Path, picture: Callable[..., bytes], positive_score: float | None
) -> None:
    probabilities = {"a": 0.25, "b": 0.5, "c": 0.25}
    prediction = Prediction("b", 0.5, probabilities, 7, True, (), 4.5, None, positive_score)
    RequestLog(tmp_path).record(picture(), prediction)
    RequestLog(tmp_path).record(picture(), PREDICTION)
    of_three, of_two = lines(tmp_path)
    assert (of_three["probabilities"], of_three.get("positive_score")) == (probabilities, positive_score)
    assert not {"probabilities", "positive_score"} & set(of_two)
    frame = read_log([tmp_path]).frame
    assert frame["probabilities"].tolist() == [probabilities, None]


def test_record_hashes_the_patient_with_a_key_only(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    RequestLog(tmp_path / "with", key=KEY).record(picture(), PREDICTION, patient="14-22549")
    RequestLog(tmp_path / "without").record(picture(), PREDICTION, patient="14-22549")
    assert lines(tmp_path / "with")[0]["patient"] == pseudonymize("14-22549", key=KEY)
    assert lines(tmp_path / "without")[0]["patient"] is None
    texts = [file.read_text("utf-8") for file in tmp_path.rglob("*.jsonl")]
    assert not any("22549" in text for text in texts)


def test_record_stores_images_with_a_folder_only(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    image = picture()
    RequestLog(tmp_path / "log").record(image, PREDICTION)
    assert not any(image in file.read_bytes() for file in (tmp_path / "log").iterdir())
    RequestLog(tmp_path / "log", image_folder=tmp_path / "images").record(image, PREDICTION)
    (stored,) = (tmp_path / "images").iterdir()
    assert (stored.stem, stored.read_bytes()) == (lines(tmp_path / "log")[0]["image_sha256"], image)


def test_record_round_trip(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    log = RequestLog(tmp_path, key=KEY)
    log.record(picture(), PREDICTION, patient="14-1")
    log.record(picture("L"), PREDICTION)  # not measured
    log.close()
    read = read_log([tmp_path])
    assert read.broken == ()
    assert read.frame["unusable"].tolist() == [None, "not 8-bit RGB but grey"]
    assert read.frame["image/width"].tolist() == pytest.approx([40, float("nan")], nan_ok=True)
    assert read.frame["reasons"].tolist() == [["blurred"], ["blurred"]]


DAY = datetime(2024, 1, 31, 23, 59, tzinfo=timezone.utc)
NEXT_DAY = datetime(2024, 2, 1, 0, 1, tzinfo=timezone.utc)

WRITER = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from knet.serving.monitoring.request_log import DailyFile
log = DailyFile(Path(sys.argv[1]))
number = 0
while True:
    log.append(f"{number}:{'x' * 3000}:{number}\\n", time=datetime(2024, 1, 31, tzinfo=timezone.utc))
    number += 1
"""


def test_daily_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    log = DailyFile(tmp_path / "log")
    for time in (DAY, DAY, NEXT_DAY):
        log.append("line\n", time=time)
    log.close()
    files = sorted((tmp_path / "log").iterdir())
    assert [(file.name, file.read_text("utf-8")) for file in files] == [
        ("2024-01-31.jsonl", "line\nline\n"),
        ("2024-02-01.jsonl", "line\n"),
    ]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_daily_file_concurrent_appends_keep_lines_intact(tmp_path: Path) -> None:
    logs = [DailyFile(tmp_path), DailyFile(tmp_path)]

    def write(number: int) -> None:
        logs[number % 2].append(f"{number}:{'x' * 5000}:{number}\n", time=DAY)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(400)))
    (file,) = tmp_path.iterdir()
    lines = file.read_text("utf-8").splitlines()
    assert sorted(lines) == sorted(f"{number}:{'x' * 5000}:{number}" for number in range(400))


@pytest.mark.parametrize("run", range(3))
def test_daily_file_killed_writer_truncates_at_most_one_line(tmp_path: Path, run: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path])
    file = tmp_path / "2024-01-31.jsonl"
    while not file.is_file() or file.stat().st_size < 300_000:
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    DailyFile(tmp_path).append("next\n", time=DAY)
    *lines, last, after = file.read_text("utf-8").splitlines()
    whole = [f"{number}:{'x' * 3000}:{number}" for number in range(len(lines) + 1)]
    assert lines == whole[:-1]
    assert last and whole[-1].startswith(last)
    assert after == "next"


def test_daily_file_terminates_a_truncated_line(tmp_path: Path) -> None:
    file = tmp_path / "2024-01-31.jsonl"
    file.write_text("whole\nhal", encoding="utf-8")
    DailyFile(tmp_path).append("new\n", time=DAY)
    assert file.read_text("utf-8") == "whole\nhal\nnew\n"


def test_daily_file_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = DailyFile(tmp_path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    with pytest.raises(OSError, match="No space left"):
        log.append("first\n", time=DAY)
    monkeypatch.undo()
    log.append("second\n", time=DAY)
    assert (tmp_path / "2024-01-31.jsonl").read_text("utf-8") == "fir\nsecond\n"


def test_daily_file_removed_file_is_created_again(tmp_path: Path) -> None:
    log = DailyFile(tmp_path)
    log.append("first\n", time=DAY)
    (tmp_path / "2024-01-31.jsonl").unlink()
    log.append("second\n", time=DAY)
    assert (tmp_path / "2024-01-31.jsonl").read_text("utf-8") == "second\n"


def test_daily_file_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"cannot create the folder .*file/log: Not a directory; choose another"
    ):
        DailyFile(tmp_path / "file" / "log")


@pytest.fixture(scope="module")
def logged(base_path: Path, tmp_path_factory: pytest.TempPathFactory, png: Callable[[int], bytes]) -> Any:
    """The log of two images over gRPC and one over REST."""
    folder = tmp_path_factory.mktemp("log")
    options = Options(observers=[LogObserver(RequestLog(folder, key=KEY))])
    with DevServer(base_path, port=0, rest_port=0, options=options) as server:
        with grpc.insecure_channel(server.address) as channel:
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(
                predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(name=schema_names.MODEL_NAME),
                    inputs={schema_names.SERVING_INPUT: tf.make_tensor_proto([png(51), png(204)])},
                    output_filter=[schema_names.SCORE],
                ),
                metadata=[(schema_names.PATIENT_HEADER, "14-9%20%C3%A9")],
                timeout=30,
            )
        body = json.dumps({"instances": [{"b64": b64encode(png(255)).decode()}]}).encode()
        url = f"http://{server.rest_address}/v1/models/{schema_names.MODEL_NAME}:predict"
        urllib.request.urlopen(
            urllib.request.Request(url, body, {schema_names.PATIENT_HEADER: "14-2"})
        ).close()
    return read_log([folder]).frame


def test_log_observer_logs_the_outputs_of_each_image(logged: Any) -> None:
    assert logged[schema_names.SCORE].tolist() == pytest.approx([0.2, 0.8, 1.0])
    assert logged[schema_names.PREDICTED_LABEL].tolist() == ["benign", "malignant", "malignant"]
    assert logged[schema_names.DISTANCE].tolist() == pytest.approx([0.8, 0.2, 0.0])
    assert logged[schema_names.IN_DISTRIBUTION].tolist() == [False, True, True]
    assert logged[schema_names.REASONS].tolist() == [["dark"], [], []]
    assert logged["version"].tolist() == [7, 7, 7]


def test_log_observer_reads_patients_from_header_and_metadata(logged: Any) -> None:
    of_grpc, of_rest = (pseudonymize(patient, key=KEY) for patient in ("14-9 é", "14-2"))
    assert logged["patient"].tolist() == [of_grpc, of_grpc, of_rest]


def test_store_image_writes_once_under_the_hash(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    png, jpeg = picture(), picture(kind="JPEG")
    for content, name in ((png, "a"), (png, "a"), (jpeg, "b")):
        store_image(tmp_path / "images", content, sha256=name)
    files = {file.name: file for file in (tmp_path / "images").iterdir()}
    assert {name: file.read_bytes() for name, file in files.items()} == {"a.png": png, "b.jpg": jpeg}
    assert files["a.png"].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_measure_image_equals_the_ingested_example(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    ingested = make_example(
        ImageFile("a.png", "benign", "14-1"),
        buffer.getvalue(),
        split="train",
        classes=("benign", "malignant"),
    )
    example = Example.FromString(ingested.record).features.feature
    measured = measure_image(buffer.getvalue())
    assert measured.unusable is None
    assert set(measured.values) == {schema_names.WIDTH, schema_names.HEIGHT, *schema_names.IMAGE_SCALARS}
    for name, value in measured.values.items():
        stored = example[name]
        assert np.float32(value) == (stored.float_list.value or stored.int64_list.value)[0]


def test_measure_image_rejected_by_ingestion_has_no_values(picture: Callable[..., bytes]) -> None:
    assert measure_image(picture("L")).unusable == "not 8-bit RGB but grey"
    assert measure_image(b"no image").values == {}


def test_pseudonymize_is_an_hmac_of_the_name() -> None:
    # echo -n 14-22549 | openssl dgst -sha256 -hmac 0123456789abcdef
    expected = "fa93df886277592ebbcee6f833f4e2175b07f4652817ef0a4b5d9cf2d9611364"
    assert pseudonymize("14-22549", key=KEY) == expected


def test_pseudonymize_depends_on_key_and_patient() -> None:
    names = {pseudonymize(patient, key=key) for patient in ("14-1", "14-2") for key in (KEY, KEY[::-1])}
    assert len(names) == 4


def test_read_key_from_file_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_key() is None
    monkeypatch.setenv(KEY_VARIABLE, "of the environment")
    (tmp_path / "key").write_bytes(KEY + b"\n")
    assert read_key() == b"of the environment"
    assert read_key(tmp_path / "key") == KEY


@pytest.mark.parametrize("key", ["", "short", " " * 20])
def test_read_key_short_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    (tmp_path / "key").write_text(key, encoding="utf-8")
    with pytest.raises(UserError, match=r"key: the key of the request log must have 16 bytes"):
        read_key(tmp_path / "key")
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(UserError, match=KEY_VARIABLE):
        read_key()


def test_read_key_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the key of the request log, .*none: No such file"):
        read_key(tmp_path / "none")
