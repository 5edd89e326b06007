"""Weights files of backbones: the shapes they hold, compared with the layers of the backbone."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras

from knet.base.errors import UserError
from knet.models.backbones import build_backbone

_LAYERS = "_layer_checkpoint_dependencies"  # group of the layers in files of Keras 2.12 to 2.15
_SUFFIXES = (".h5", ".hdf5", ".keras")  # by which Keras tells the format
_Shapes = tuple[tuple[int, ...], ...]


class LayerWeights(NamedTuple):
    """A layer that has weights, and their shapes."""

    name: str
    shapes: _Shapes


def check_weights_file(file: Path, backbone: str, *, candidate: str, alpha: float | None, size: int) -> None:
    """Check that a file holds the weights of a backbone without top; only shapes are read.

    Args:
        file: HDF5 file of Keras 2 (`.h5`), `.weights.h5` or `.keras`.
        backbone: name or import path, as of `find_backbone`.
        candidate: name of the model, for error messages.
        alpha: width multiplier of MobileNet; None: 1.
        size: height and width of the input, pixels.

    Raises:
        UserError: it is none of these formats, or of another backbone or width; the message names the first
            layer that differs, and both shapes.
    """
    if not file.name.endswith(_SUFFIXES):
        raise UserError(f"candidates.{candidate}.weights: {file} must end in {', '.join(_SUFFIXES)}")
    model = build_backbone(backbone, candidate=candidate, size=size, alpha=alpha)
    try:
        difference = _difference(model.layers, file)
    except Exception as error:  # HDF5, zip and damaged files raise anything
        raise UserError(
            f"candidates.{candidate}.weights: {file} cannot be read as weights of Keras ({error}); save it "
            "again"
        ) from None
    finally:
        keras.utils.clear_session()
    if difference:
        width = "" if alpha is None else f" with alpha {alpha:g}"
        raise UserError(
            f"candidates.{candidate}.weights: {file} does not fit {backbone}{width} without top: "
            f"{difference}; give weights of this backbone and width, or set weights=none"
        )


def _difference(layers: Sequence[Any], file: Path) -> str | None:
    """Return the first layer of a backbone that differs from a file's, with both shapes, or None."""
    expected = [LayerWeights(layer.name, _shapes(layer.weights)) for layer in layers]
    content: Any = file
    if file.suffix == ".keras":
        with zipfile.ZipFile(file) as archive:
            content = io.BytesIO(archive.read("model.weights.h5"))
    pairs: Iterable[tuple[LayerWeights | None, LayerWeights | None]]
    with h5py.File(content) as opened:
        if file.name.endswith((".keras", ".weights.h5")):
            found = list(_layers_by_class(opened[_LAYERS if _LAYERS in opened else "layers"], layers))
            pairs = [pair for pair in zip(expected, found, strict=True) if pair[0].shapes]
        else:  # of Keras 2: layers in order, whatever their names
            in_order = list(_layers_in_order(opened))
            pairs = zip_longest((layer for layer in expected if layer.shapes), in_order)
    for wanted, held in pairs:
        if wanted is None or held is None or wanted.shapes != held.shapes:
            return f"{_text(held)} in the file where the backbone has {_text(wanted)}"
    return None


def _shapes(weights: Iterable[Any]) -> _Shapes:
    return tuple(tuple(weight.shape) for weight in weights)


def _text(layer: LayerWeights | None) -> str:
    return "no layer" if layer is None else f"layer {layer.name} {', '.join(map(str, layer.shapes))}"


def _layers_in_order(file: Any) -> Iterator[LayerWeights]:
    """Yield the layers with weights of a file in the format of Keras 2."""
    group = file.get("model_weights", file)
    for layer in map(_decoded, group.attrs["layer_names"]):
        names = map(_decoded, group[layer].attrs["weight_names"])
        shapes = _shapes(group[layer][name] for name in names)
        if shapes:
            yield LayerWeights(layer, shapes)


def _decoded(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _layers_by_class(group: Any, layers: Iterable[Any]) -> Iterator[LayerWeights | None]:
    """Yield the layer of a file of Keras 3 for each of a backbone, or None if there is none.

    Keras numbers the layers of each class: `conv2d`, `conv2d_1`, ...
    """
    counts: Counter[str] = Counter()
    for layer in layers:
        name = keras.src.utils.naming.to_snake_case(type(layer).__name__)
        key = f"{name}_{counts[name]}" if counts[name] else name
        counts[name] += 1
        held = group.get(f"{key}/vars")
        yield held and LayerWeights(
            _decoded(held.attrs.get("name", key)), _shapes(held[str(n)] for n in range(len(held)))
        )
