"""The registry of backbones: how each is built, scaled, divided into blocks and read as a grid of tokens."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from knet.base.errors import UserError
from knet.base.progress import PROGRESS

_PUBLISHED = "https://storage.googleapis.com/tensorflow/keras-applications"
# "caffe" scaling of the VGG16 and ResNet weights: BGR order, ImageNet means removed.
_IMAGENET_BGR_MEAN = (103.939, 116.779, 123.68)
# Of RGB in 0..1.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """One entry of the registry."""

    build: Callable[..., keras.Model]  # takes include_top, weights (a file or None) and input_shape
    scale: Callable[[Any], Any]  # [batch, size, size, 3] RGB in 0..255 to what the ImageNet weights expect
    grid: Callable[[int], int]  # rows (and columns) of the last feature map at an input size in pixels
    layer_pattern: str  # matches, at its start, the name of every layer that belongs to a block
    block_name: str  # of what it matched, as `re.Match.expand` takes it
    weights_url: str  # of the ImageNet weights without top; may hold {alpha} and {rows}
    weights_md5: str | None  # as Keras knows it


@dataclass(frozen=True)
class Block:
    """What is frozen and released together; a single tensor leads from a block to the next."""

    name: str
    layers: tuple[keras.layers.Layer, ...]


def _scale_to_unit_range(pixels: Any) -> Any:
    return keras.layers.Rescaling(1 / 127.5, offset=-1, dtype="float32")(pixels)


def _scale_like_caffe(pixels: Any) -> Any:
    bgr = keras.ops.flip(pixels, axis=-1)
    return keras.layers.Normalization(mean=_IMAGENET_BGR_MEAN, variance=(1.0, 1.0, 1.0), dtype="float32")(bgr)


def _scale_like_torch(pixels: Any) -> Any:
    mean = [255 * value for value in _IMAGENET_MEAN]
    variance = [(255 * value) ** 2 for value in _IMAGENET_STD]
    return keras.layers.Normalization(mean=mean, variance=variance, dtype="float32")(pixels)


def _halved_rounding_down(size: int) -> int:
    return size // 32


def _halved_rounding_up(size: int) -> int:
    return -(-size // 32)


def _resnet(build: Callable[..., keras.Model], name: str, md5: str) -> Backbone:
    return Backbone(
        build=build,
        scale=_scale_like_caffe,
        grid=_halved_rounding_up,
        layer_pattern=r"(conv\d_block\d+)_",
        block_name=r"\1",
        weights_url=f"{_PUBLISHED}/resnet/{name}_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_md5=md5,
    )


BACKBONES: dict[str, Backbone] = {
    "mobilenet": Backbone(
        build=keras.applications.MobileNet,
        scale=_scale_to_unit_range,
        grid=_halved_rounding_down,
        layer_pattern=r"conv_(?:pad|dw|pw)_(\d+)(?:_|$)",
        block_name=r"pair\1",
        weights_url=f"{_PUBLISHED}/mobilenet/mobilenet_{{alpha}}_{{rows}}_tf_no_top.h5",
        weights_md5=None,
    ),
    "vgg16": Backbone(
        build=keras.applications.VGG16,
        scale=_scale_like_caffe,
        grid=_halved_rounding_down,
        layer_pattern=r"(block\d)_",
        block_name=r"\1",
        weights_url=f"{_PUBLISHED}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_md5="6d6bbae143d832006294945121d1f1fc",
    ),
    "resnet50": _resnet(keras.applications.ResNet50, "resnet50", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": _resnet(keras.applications.ResNet101, "resnet101", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": _resnet(keras.applications.ResNet152, "resnet152", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "efficientnetv2b0": Backbone(
        build=functools.partial(keras.applications.EfficientNetV2B0, include_preprocessing=False),
        scale=_scale_like_torch,
        grid=_halved_rounding_up,
        layer_pattern=r"(block\d[a-z]|top)_",
        block_name=r"\1",
        weights_url=f"{_PUBLISHED}/efficientnet_v2/efficientnetv2-b0_notop.h5",
        weights_md5="893217f2bb855e2983157299931e43ff",
    ),
}


def token_count(name: str, size: int) -> int:
    """How many tokens a backbone's last feature map has at an input size in pixels."""
    return BACKBONES[name].grid(size) ** 2


def blocks_of(name: str, body: keras.Model) -> tuple[Block, ...]:
    """The blocks of a backbone that was built, from input to output.

    What precedes the first block of its pattern is a block of its own, `stem`.
    """
    entry = BACKBONES[name]
    blocks: dict[str, list[keras.layers.Layer]] = {}
    for layer in body.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        match = re.match(entry.layer_pattern, layer.name)
        blocks.setdefault(match.expand(entry.block_name) if match else "stem", []).append(layer)
    return tuple(Block(block, tuple(layers)) for block, layers in blocks.items())


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
