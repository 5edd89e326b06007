"""ImageNet weights: from Keras's cache, downloaded, or refused."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from knet.base.errors import UserError
from knet.models import imagenet
from knet.models.imagenet import (
    IMAGENET,
    PublishedWeights,
    WantedWeights,
    fetch_imagenet_weights,
    imagenet_weights,
)

CONTENT = b"weights"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's folder of weights, empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the weights of ResNet50 are fetched from: a path in place of the server, where nothing is yet."""
    file = tmp_path / "server" / "resnet50_notop.h5"
    file.parent.mkdir()
    entry = PublishedWeights(file.as_uri(), hashlib.md5(CONTENT).hexdigest())
    monkeypatch.setitem(IMAGENET, "resnet50", entry)
    return file


def find() -> Path:
    return imagenet_weights("deep", WantedWeights("resnet50", None, 64))


def test_imagenet_weights_are_downloaded_once(published: Path, cache: Path) -> None:
    published.write_bytes(CONTENT)
    assert find() == cache / published.name
    published.unlink()
    assert find().read_bytes() == CONTENT


def test_imagenet_weights_error_names_url_hash_and_folder(published: Path, cache: Path) -> None:
    with pytest.raises(UserError) as caught:
        find()
    md5 = hashlib.md5(CONTENT).hexdigest()
    for told in (
        "candidates.deep.weights",
        published.name,
        published.as_uri(),
        f"{cache},",
        f"md5 {md5}",
    ):
        assert told in str(caught.value), told


def test_imagenet_weights_refuse_a_download_with_another_hash(published: Path, cache: Path) -> None:
    published.write_bytes(b"another")
    with pytest.raises(UserError, match="cannot be fetched"):
        find()


def test_imagenet_weights_refuse_a_cached_file_with_another_hash(published: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / published.name).write_bytes(b"broken")
    with pytest.raises(UserError, match=r"resnet50_notop\.h5 differs from the file published .* remove it"):
        find()


@pytest.mark.parametrize(
    ("alpha", "size", "name"),
    [
        (None, 227, "mobilenet_1_0_224_tf_no_top.h5"),
        (1.0, 128, "mobilenet_1_0_128_tf_no_top.h5"),
        (0.25, 64, "mobilenet_2_5_224_tf_no_top.h5"),
    ],
)
def test_imagenet_weights_of_mobilenet_by_alpha_and_size(
    alpha: float | None, size: int, name: str, cache: Path
) -> None:
    cache.mkdir(parents=True)
    (cache / name).write_bytes(CONTENT)
    assert imagenet_weights("small", WantedWeights("mobilenet", alpha, size)).name == name


def test_imagenet_weights_refuse_an_unpublished_alpha() -> None:
    with pytest.raises(
        UserError, match=r"candidates\.small\.alpha: there are ImageNet weights for 0\.25, .* not for 0\.3"
    ):
        imagenet_weights("small", WantedWeights("mobilenet", 0.3, 224))


@pytest.mark.parametrize("name", IMAGENET)
def test_published_weights_equal_those_of_keras_applications(name: str, built: Callable[[str], Any]) -> None:
    assert IMAGENET[name].url.format(alpha="1_0", rows=224) == built(name).weights_url
    assert IMAGENET[name].md5 == built(name).weights_md5


def test_imagenet_weights_refuse_an_incomplete_download(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nshort")

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=answer, args=[server]).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/resnet50.h5"
        monkeypatch.setitem(IMAGENET, "resnet50", PublishedWeights(url, None))
        with pytest.raises(UserError, match=r"cannot be fetched \(the connection broke off\)"):
            find()
    assert not list(cache.iterdir())


def test_fetch_imagenet_weights_waits_once_for_a_server_that_is_silent(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/{{}}.h5"
        for name in ("vgg16", "resnet50", "resnet152"):
            monkeypatch.setitem(IMAGENET, name, PublishedWeights(url.format(name), None))
        started = time.monotonic()
        with pytest.raises(UserError) as caught:
            fetch_imagenet_weights(
                {name: WantedWeights(name, None, 64) for name in ("vgg16", "resnet50", "resnet152")}
            )
    assert time.monotonic() - started < 0.8
    lines = str(caught.value).splitlines()
    assert [re.findall(r"put (\w+)\.h5 from http", line) for line in lines] == [
        ["vgg16"], ["resnet50"], ["resnet152"]
    ]  # fmt: skip


def test_fetch_imagenet_weights_limits_the_wait_for_a_name_server(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "_TIMEOUT", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2))
    started = time.monotonic()
    with pytest.raises(UserError, match=r"no answer in 0\.3 seconds"):
        fetch_imagenet_weights({"vgg16": WantedWeights("vgg16", None, 64)})
    assert time.monotonic() - started < 1


def test_fine_tuning_page_lists_the_published_files() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "fine-tuning.md").read_text("utf-8")
    (base,) = re.findall(r"below `(https://\S+)`", page)
    listed = dict(re.findall(r"^\| (\w+) \| `(\S+\.h5)`", page, re.MULTILINE))
    assert {name: f"{base}/{file}" for name, file in listed.items()} == {
        name: weights.url for name, weights in IMAGENET.items()
    }
