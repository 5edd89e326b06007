"""Registry of CNN backbones: builder, input scaling, blocks and token grid of each."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Backbone:
    """Entry of the registry."""

    build: Callable[..., keras.Model]  # of include_top, weights (a file or None) and input_shape
    scale: Callable[[Any], Any]  # RGB [batch, size, size, 3], 0 to 255, to the input of the ImageNet weights
    grid: Callable[[int], int]  # rows (and columns) of the last feature map at an input size in pixels
    layer_pattern: str  # matches, at its start, the name of every layer that belongs to a block
    block_name: str  # template for `re.Match.expand` of that match


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


def _resnet(build: Callable[..., keras.Model]) -> Backbone:
    return Backbone(
        build=build,
        scale=_scale_like_caffe,
        grid=_stride_32_ceil,
        layer_pattern=r"(conv\d_block\d+)_",
        block_name=r"\1",
    )


BACKBONES: dict[str, Backbone] = {
    "mobilenet": Backbone(
        build=keras.applications.MobileNet,
        scale=_scale_to_unit_range,
        grid=_stride_32_floor,
        layer_pattern=r"conv_(?:pad|dw|pw)_(\d+)(?:_|$)",
        block_name=r"pair\1",
    ),
    "vgg16": Backbone(
        build=keras.applications.VGG16,
        scale=_scale_like_caffe,
        grid=_stride_32_floor,
        layer_pattern=r"(block\d)_",
        block_name=r"\1",
    ),
    "resnet50": _resnet(keras.applications.ResNet50),
    "resnet101": _resnet(keras.applications.ResNet101),
    "resnet152": _resnet(keras.applications.ResNet152),
    "efficientnetv2b0": Backbone(
        build=functools.partial(keras.applications.EfficientNetV2B0, include_preprocessing=False),
        scale=_scale_like_torch,
        grid=_stride_32_ceil,
        layer_pattern=r"(block\d[a-z]|top)_",
        block_name=r"\1",
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
