"""The registry of backbones: how each is built, scaled and read as a grid of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

# "caffe" scaling of the VGG16 and ResNet weights: BGR order, ImageNet means removed.
_IMAGENET_BGR_MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Backbone:
    """One entry of the registry."""

    build: Callable[..., keras.Model]  # from keras.applications; takes include_top, weights, input_shape
    scale: Callable[[Any], Any]  # [batch, size, size, 3] RGB in 0..255 to what the ImageNet weights expect
    grid: Callable[[int], int]  # rows (and columns) of the last feature map at an input size in pixels


def _scale_to_unit_range(pixels: Any) -> Any:
    return keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)


def _scale_like_caffe(pixels: Any) -> Any:
    bgr = keras.ops.flip(pixels, axis=-1)
    return keras.layers.Normalization(mean=_IMAGENET_BGR_MEAN, variance=(1.0, 1.0, 1.0))(bgr)


def _halved_rounding_down(size: int) -> int:
    return size // 32


def _halved_rounding_up(size: int) -> int:
    return -(-size // 32)


BACKBONES: dict[str, Backbone] = {
    "mobilenet": Backbone(keras.applications.MobileNet, _scale_to_unit_range, _halved_rounding_down),
    "vgg16": Backbone(keras.applications.VGG16, _scale_like_caffe, _halved_rounding_down),
    "resnet50": Backbone(keras.applications.ResNet50, _scale_like_caffe, _halved_rounding_up),
    "resnet101": Backbone(keras.applications.ResNet101, _scale_like_caffe, _halved_rounding_up),
    "resnet152": Backbone(keras.applications.ResNet152, _scale_like_caffe, _halved_rounding_up),
}


def token_count(name: str, size: int) -> int:
    """How many tokens a backbone's last feature map has at an input size in pixels."""
    return BACKBONES[name].grid(size) ** 2
