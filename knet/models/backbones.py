"""CNN backbones, of the registry or by import path: builder, input scaling, blocks and token grid of each."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from knet.base.digests import package_digest
from knet.base.errors import UserError


def _unchanged(pixels: Any) -> Any:
    return keras.layers.Identity(dtype="float32")(pixels)


@dataclass(frozen=True)
class Backbone:
    """A backbone without top, of the registry or of the user's package (docs/extending.md).

    Attributes:
        build: returns a functional model from [batch, size, size, 3] to a feature map [batch, rows, columns,
            channels]. Its arguments are those of `keras.applications`: `include_top=False`, `weights` (a
            file, None, or `imagenet` outside the registry) and `input_shape`, (size, size, 3).
        scale: from RGB [batch, size, size, 3], 0 to 255, to the input that the ImageNet weights expect, with
            `image.normalisation: backbone`.
        grid: rows (and columns) of the feature map at an input size in pixels. None: read from a built model.
        layer_pattern: matches, at its start, the name of a layer that belongs to a block. Other layers belong
            to the block before them, or to `stem`. None: all layers are the block `stem`.
        block_name: template for `re.Match.expand` of that match.
    """

    build: Callable[..., keras.Model]
    scale: Callable[[Any], Any] = _unchanged
    grid: Callable[[int], int] | None = None
    layer_pattern: str | None = None
    block_name: str = r"\1"


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


def find_backbone(name: str, *, candidate: str | None = None) -> Backbone:
    """Return a backbone of the registry, or import one.

    Args:
        name: key of `BACKBONES`, or import path of a `Backbone` or of its `build`.
        candidate: name of the model, for error messages.

    Raises:
        UserError: the module or its attribute is missing or unusable.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    field = _field(candidate or name)
    module, _, attribute = name.partition(":")
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{field}: there is no module {error.name} for {name}; install its package into this "
            "environment, for Kubeflow into the image"
        ) from error
    except Exception as error:  # the module's own
        raise UserError(f"{field}: the module {module} cannot be imported ({error!r}); correct it") from error
    found = getattr(imported, attribute, None)
    if isinstance(found, Backbone):
        return found
    if not callable(found):
        problem = "has no" if found is None else "has neither a function nor a Backbone of the name"
        raise UserError(
            f"{field}: the module {module} {problem} {attribute}; name a Backbone, or a function that builds "
            "a model"
        )
    return Backbone(build=found)


def build_backbone(
    name: str, *, candidate: str, size: int, weights: str | None = None, alpha: float | None = None
) -> keras.Model:
    """Build a backbone without top.

    Args:
        name: as of `find_backbone`.
        candidate: name of the model, for error messages.
        size: height and width of the input, pixels.
        weights: file of the weights, or `imagenet` outside the registry; None: random.
        alpha: width multiplier of MobileNet; None for other backbones.

    Raises:
        UserError: it cannot be built, the weights do not fit, or the output is not a feature map.
    """
    entry = find_backbone(name, candidate=candidate)
    extra = {} if alpha is None else {"alpha": alpha}
    try:
        model = entry.build(include_top=False, weights=weights, input_shape=(size, size, 3), **extra)
    except Exception as error:
        if name in BACKBONES and (weights is None or not isinstance(error, (ValueError, OSError))):
            raise
        if weights is None:
            raise UserError(
                f"{_field(candidate)}: {name} cannot be built for {size} px ({error}); see docs/extending.md"
            ) from error
        width = "" if alpha is None else f" with alpha {alpha:g}"
        raise UserError(
            f"candidates.{candidate}.weights: {weights} does not fit {name} without top{width} ({error})"
        ) from error
    if name not in BACKBONES:
        _check_built(model, entry, name, candidate=candidate)
    return model


def _check_built(model: Any, entry: Backbone, name: str, *, candidate: str) -> None:
    if not isinstance(model, keras.Model):
        raise UserError(f"{_field(candidate)}: {name} returns {type(model).__name__}; return a keras.Model")
    shape = model.output_shape
    if len(shape) != 4 or not all(isinstance(length, int) for length in shape[1:]):
        raise UserError(
            f"{_field(candidate)}: {name} returns {shape}; the output of a backbone is a feature map, "
            "(batch, rows, columns, channels): leave out pooling and top"
        )
    pattern = entry.layer_pattern
    if pattern is not None and not any(re.match(pattern, layer.name) for layer in model.layers):
        raise UserError(
            f"{_field(candidate)}: the layer_pattern {pattern!r} of {name} matches no layer; correct it"
        )


def _field(candidate: str) -> str:
    return f"candidates.{candidate}.backbone"


def token_count(name: str, size: int, *, candidate: str | None = None) -> int:
    """Return the number of tokens, rows * columns, of a backbone's last feature map.

    Args:
        name: as of `find_backbone`.
        size: height and width of the input, pixels.
        candidate: name of the model, for error messages.
    """
    grid = find_backbone(name, candidate=candidate).grid
    return grid(size) ** 2 if grid else _built_token_count(name, size, candidate or name)


@functools.cache
def _built_token_count(name: str, size: int, candidate: str) -> int:
    _, rows, columns, _ = build_backbone(name, candidate=candidate, size=size).output_shape
    keras.utils.clear_session()
    return int(rows * columns)


def backbone_digest(name: str) -> str:
    """Return the digest of the package that a backbone is imported from; empty for one of the registry."""
    return "" if name in BACKBONES else package_digest(name.partition(":")[0])


@dataclass(frozen=True)
class Block:
    """Layers that are frozen and unfrozen together; a single tensor leads from a block to the next."""

    name: str
    layers: tuple[keras.layers.Layer, ...]


def backbone_blocks(name: str, backbone: keras.Model) -> tuple[Block, ...]:
    """Return the blocks of a built backbone, from input to output.

    Layers before the first block of its pattern form the block `stem`.

    Args:
        name: as of `find_backbone`.
        backbone: built by that entry.
    """
    entry = find_backbone(name)
    blocks: dict[str, list[keras.layers.Layer]] = {}
    block = "stem"
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if entry.layer_pattern and (match := re.match(entry.layer_pattern, layer.name)):
            block = match.expand(entry.block_name)
        blocks.setdefault(block, []).append(layer)
    return tuple(Block(block, tuple(layers)) for block, layers in blocks.items())
