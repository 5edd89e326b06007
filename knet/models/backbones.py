"""Registry of CNN backbones: builder, input scaling, blocks, token grid and ImageNet weights of each."""

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


@dataclass(frozen=True)
class Backbone:
    """Entry of the registry."""

    build: Callable[..., keras.Model]  # of include_top, weights (a file or None) and input_shape
    scale: Callable[[Any], Any]  # RGB [batch, size, size, 3], 0 to 255, to the input of the ImageNet weights
    grid: Callable[[int], int]  # rows (and columns) of the last feature map at an input size in pixels
    layer_pattern: str  # matches, at its start, the name of every layer that belongs to a block
    block_name: str  # template for `re.Match.expand` of that match
    weights_url: str  # of the ImageNet weights without top; may hold {alpha} and {rows}
    weights_md5: str | None  # published by Keras


# "caffe" scaling of the VGG16 and ResNet weights: BGR order, ImageNet means removed.
_IMAGENET_BGR_MEAN = (103.939, 116.779, 123.68)
# "torch" scaling: means and standard deviations of RGB in 0..1.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def _scale_to_unit_range(pixels: Any) -> Any:
    return keras.layers.Rescaling(1 / 127.5, offset=-1, dtype="float32")(pixels)


def _scale_like_caffe(pixels: Any) -> Any:
    bgr = keras.ops.flip(pixels, axis=-1)
    return keras.layers.Normalization(mean=_IMAGENET_BGR_MEAN, variance=(1.0, 1.0, 1.0), dtype="float32")(bgr)


def _scale_like_torch(pixels: Any) -> Any:
    mean = [255 * value for value in _IMAGENET_MEAN]
    variance = [(255 * value) ** 2 for value in _IMAGENET_STD]
    return keras.layers.Normalization(mean=mean, variance=variance, dtype="float32")(pixels)


# Five layers of stride 2, which round an odd side down or up.
def _stride_32_floor(size: int) -> int:
    return size // 32


def _stride_32_ceil(size: int) -> int:
    return -(-size // 32)


_PUBLISHED = "https://storage.googleapis.com/tensorflow/keras-applications"


def _resnet(build: Callable[..., keras.Model], name: str, md5: str) -> Backbone:
    return Backbone(
        build=build,
        scale=_scale_like_caffe,
        grid=_stride_32_ceil,
        layer_pattern=r"(conv\d_block\d+)_",
        block_name=r"\1",
        weights_url=f"{_PUBLISHED}/resnet/{name}_weights_tf_dim_ordering_tf_kernels_notop.h5",
        weights_md5=md5,
    )


BACKBONES: dict[str, Backbone] = {
    "mobilenet": Backbone(
        build=keras.applications.MobileNet,
        scale=_scale_to_unit_range,
        grid=_stride_32_floor,
        layer_pattern=r"conv_(?:pad|dw|pw)_(\d+)(?:_|$)",
        block_name=r"pair\1",
        weights_url=f"{_PUBLISHED}/mobilenet/mobilenet_{{alpha}}_{{rows}}_tf_no_top.h5",
        weights_md5=None,
    ),
    "vgg16": Backbone(
        build=keras.applications.VGG16,
        scale=_scale_like_caffe,
        grid=_stride_32_floor,
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
        grid=_stride_32_ceil,
        layer_pattern=r"(block\d[a-z]|top)_",
        block_name=r"\1",
        weights_url=f"{_PUBLISHED}/efficientnet_v2/efficientnetv2-b0_notop.h5",
        weights_md5="893217f2bb855e2983157299931e43ff",
    ),
}


def token_count(name: str, size: int) -> int:
    """Return the number of tokens, rows * columns, of a backbone's last feature map.

    Args:
        name: key of `BACKBONES`.
        size: height and width of the input, pixels.
    """
    return BACKBONES[name].grid(size) ** 2


@dataclass(frozen=True)
class Block:
    """Layers that are frozen and unfrozen together; a single tensor leads from a block to the next."""

    name: str
    layers: tuple[keras.layers.Layer, ...]


def backbone_blocks(name: str, backbone: keras.Model) -> tuple[Block, ...]:
    """Return the blocks of a built backbone, from input to output.

    Layers before the first block of its pattern form the block `stem`.

    Args:
        name: key of `BACKBONES`.
        backbone: built by that entry.
    """
    entry = BACKBONES[name]
    blocks: dict[str, list[keras.layers.Layer]] = {}
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        match = re.match(entry.layer_pattern, layer.name)
        blocks.setdefault(match.expand(entry.block_name) if match else "stem", []).append(layer)
    return tuple(Block(block, tuple(layers)) for block, layers in blocks.items())


_MOBILENET_ALPHAS = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}
_MOBILENET_ROWS = (128, 160, 192, 224)  # input sizes with published weights, pixels


def imagenet_weights(backbone: str, *, alpha: float | None, size: int) -> Path:
    """Return the file of a backbone's ImageNet weights without top, downloaded if Keras's cache lacks it.

    Args:
        backbone: key of `BACKBONES`.
        alpha: width multiplier of MobileNet; None: 1.
        size: height and width of the input, pixels; MobileNet has weights for several.

    Raises:
        UserError: there are no weights for this alpha, the download fails, or the file has another hash; the
            text names file, URL, hash and cache folder.
    """
    entry = BACKBONES[backbone]
    url = entry.weights_url.format(
        alpha=_alpha_name(alpha), rows=size if size in _MOBILENET_ROWS else _MOBILENET_ROWS[-1]
    )
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    file = cache / "models" / url.rpartition("/")[2]
    published = f"md5 {entry.weights_md5}" if entry.weights_md5 else "no hash is published"
    if not file.is_file():
        logging.getLogger(PROGRESS).info("downloading the ImageNet weights of %s: %s", backbone, url)
        try:
            # Keras falls back to a temporary folder if this one is missing.
            file.parent.mkdir(parents=True, exist_ok=True)
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
            f"candidates.{backbone}.weights: {file} differs from the file published at {url} ({published}); "
            "remove it, and it is downloaded again"
        )
    return file


def _alpha_name(alpha: float | None) -> str:
    alpha = 1.0 if alpha is None else alpha
    if alpha not in _MOBILENET_ALPHAS:
        raise UserError(
            f"candidates.mobilenet.alpha: there are ImageNet weights for 0.25, 0.5, 0.75 and 1, not for "
            f"{alpha:g}; use one of these, or set weights to a file of yours or to none"
        )
    return _MOBILENET_ALPHAS[alpha]


def _md5(file: Path) -> str:
    with file.open("rb") as opened:
        digest = hashlib.md5(usedforsecurity=False)
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
