"""ImageNet weights that Keras publishes: in its cache, else downloaded; without TensorFlow."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.progress import PROGRESS


@dataclass(frozen=True)
class PublishedWeights:
    """Weights without top of a backbone."""

    url: str  # may hold {alpha} and {rows}
    md5: str | None  # None if Keras publishes none


_PUBLISHED = "https://storage.googleapis.com/tensorflow/keras-applications"
_RESNET = f"{_PUBLISHED}/resnet/{{}}_weights_tf_dim_ordering_tf_kernels_notop.h5"

IMAGENET: Final[dict[str, PublishedWeights]] = {  # by backbone
    "mobilenet": PublishedWeights(f"{_PUBLISHED}/mobilenet/mobilenet_{{alpha}}_{{rows}}_tf_no_top.h5", None),
    "vgg16": PublishedWeights(
        f"{_PUBLISHED}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "resnet50": PublishedWeights(_RESNET.format("resnet50"), "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": PublishedWeights(_RESNET.format("resnet101"), "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": PublishedWeights(_RESNET.format("resnet152"), "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "efficientnetv2b0": PublishedWeights(
        f"{_PUBLISHED}/efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"
    ),
}
_MOBILENET_ALPHAS = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}
_MOBILENET_ROWS = (128, 160, 192, 224)  # input sizes with published weights, pixels


@dataclass(frozen=True)
class WantedWeights:
    """The backbone that weights are wanted for."""

    backbone: str  # key of `IMAGENET`
    alpha: float | None  # width multiplier of MobileNet; None: 1
    size: int  # height and width of the input, pixels; MobileNet has weights for several


def imagenet_weights(candidate: str, wanted: WantedWeights) -> Path:
    """Return the file of a candidate's weights; see `fetch_imagenet_weights`."""
    return fetch_imagenet_weights({candidate: wanted})[candidate]


def fetch_imagenet_weights(wanted: Mapping[str, WantedWeights]) -> dict[str, Path]:
    """Return the files of ImageNet weights without top by candidate, downloaded if Keras's cache lacks them.

    After a failed download no other is tried, so that nobody waits for the time limit again and again.

    Args:
        wanted: by name of the candidate.

    Raises:
        UserError: there are no weights for an alpha, a download fails, or a file has another hash; the text
            has a line for each candidate, with file, URL, hash and cache folder.
    """
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    files, problems, failure = {}, [], ""
    for candidate, weights in wanted.items():
        md5 = IMAGENET[weights.backbone].md5
        published = f"md5 {md5}" if md5 else "no hash is published"
        try:
            url, field = _url(candidate, weights), f"candidates.{candidate}.weights"
            file = files[candidate] = cache / url.rpartition("/")[2]
            if not file.is_file():
                failure = failure or _download(url, file, md5)
                if failure:
                    raise UserError(
                        f"{field}: the ImageNet weights are not in Keras's cache and cannot be fetched "
                        f"({failure}); put {file.name} from {url} ({published}) into {cache}, or set weights "
                        "to a file of yours or to none"
                    )
            elif md5 and _md5(file) != md5:
                raise UserError(
                    f"{field}: {file} differs from the file published at {url} ({published}); remove it, and "
                    "it is downloaded again"
                )
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return files


def _url(candidate: str, weights: WantedWeights) -> str:
    alpha = 1.0 if weights.alpha is None else weights.alpha
    if alpha not in _MOBILENET_ALPHAS:
        raise UserError(
            f"candidates.{candidate}.alpha: there are ImageNet weights for 0.25, 0.5, 0.75 and 1, not for "
            f"{alpha:g}; use one of these, or set weights to a file of yours or to none"
        )
    rows = weights.size if weights.size in _MOBILENET_ROWS else _MOBILENET_ROWS[-1]
    return IMAGENET[weights.backbone].url.format(alpha=_MOBILENET_ALPHAS[alpha], rows=rows)


def _download(url: str, file: Path, md5: str | None) -> str:
    """Download a file atomically, and return why it failed, or nothing."""

    def write(path: Path) -> None:
        with _open(url) as response, path.open("wb") as opened:
            shutil.copyfileobj(response, opened, 1 << 20)
            length = response.headers.get("Content-Length")
        if length and path.stat().st_size != int(length):
            raise ConnectionError("the connection broke off")
        if md5 and _md5(path) != md5:
            raise ConnectionError("the file has another hash")

    logging.getLogger(PROGRESS).info("downloading ImageNet weights: %s", url)
    try:
        atomic_write(file, write)
    except Exception as error:  # urllib raises errors of several libraries
        return str(getattr(error, "reason", None) or error)
    return ""


_TIMEOUT = 5.0  # seconds without an answer


def _open(url: str) -> Any:
    """Open a URL; the time limit covers the name server too, which urllib's does not."""
    results: SimpleQueue[Any] = SimpleQueue()

    def work() -> None:
        try:
            results.put(urllib.request.urlopen(url, timeout=_TIMEOUT))
        except Exception as error:
            results.put(error)

    Thread(target=work, daemon=True).start()
    try:
        result = results.get(timeout=_TIMEOUT)
    except Empty:
        raise TimeoutError(f"no answer in {_TIMEOUT:g} seconds") from None
    if isinstance(result, Exception):
        raise result
    return result


def _md5(file: Path) -> str:
    with file.open("rb") as opened:
        digest = hashlib.md5(usedforsecurity=False)
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
