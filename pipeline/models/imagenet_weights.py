"""Finds a backbone's published ImageNet weights in Keras's cache, or fetches them."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import keras

from pipeline.errors import UserError
from pipeline.models.backbones import BACKBONES
from pipeline.progress import PROGRESS

_MOBILENET_ALPHAS = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}
_MOBILENET_ROWS = (128, 160, 192, 224)  # input sizes that it was trained at


def imagenet_weights(backbone: str, *, alpha: float | None, size: int) -> Path:
    """The file of a backbone's ImageNet weights without top, fetched by Keras where its cache lacks it.

    Args:
        backbone: a name in `BACKBONES`.
        alpha: width multiplier, MobileNet only.
        size: pixels per side; MobileNet has weights for several.

    Raises:
        UserError: there are none for this alpha, the file cannot be fetched, or it is not the published
            one; the text names file, URL, hash and the place where it is looked for.
    """
    entry = BACKBONES[backbone]
    url = entry.weights_url.format(
        alpha=_alpha_name(alpha), rows=size if size in _MOBILENET_ROWS else _MOBILENET_ROWS[-1]
    )
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    file = cache / "models" / url.rpartition("/")[2]
    published = f"md5 {entry.weights_md5}" if entry.weights_md5 else "no hash is published"
    if not file.is_file():
        logging.getLogger(PROGRESS).info("fetching the ImageNet weights of %s: %s", backbone, url)
        try:
            file.parent.mkdir(
                parents=True, exist_ok=True
            )  # Keras would take another place where it is missing
            return Path(
                keras.utils.get_file(
                    file.name, url, cache_dir=cache, cache_subdir="models", file_hash=entry.weights_md5
                )
            )
        except Exception as error:  # Keras raises no narrower class
            reason = str(error).rpartition(" -- ")[2]  # the rest repeats the URL
            raise UserError(
                f"candidates.{backbone}.weights: the ImageNet weights are not in Keras's cache and cannot be "
                f"fetched ({reason}); put {file.name} from {url} ({published}) into {file.parent}, or set "
                "weights to a file of yours or to none"
            ) from error
    if entry.weights_md5 and _md5(file) != entry.weights_md5:
        raise UserError(
            f"candidates.{backbone}.weights: {file} is not what is published at {url} ({published}); "
            "remove it, and it is fetched anew"
        )
    return file


def _alpha_name(alpha: float | None) -> str:
    alpha = 1.0 if alpha is None else alpha
    if alpha not in _MOBILENET_ALPHAS:
        raise UserError(
            f"candidates.mobilenet.alpha: there are ImageNet weights for 0.25, 0.5, 0.75 and 1, not for "
            f"{alpha:g}; take one of these, or set weights to a file of yours or to none"
        )
    return _MOBILENET_ALPHAS[alpha]


def _md5(file: Path) -> str:
    with file.open("rb") as opened:
        digest = hashlib.md5(usedforsecurity=False)
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
