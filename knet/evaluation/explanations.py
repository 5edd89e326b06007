"""Grad-CAM explanations of a model's predictions on test images, with a check against random weights."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from knet.base import artifact_files, run_files, schema_names
from knet.base.heat_maps import overlay, thumbnail
from knet.data.examples import IngestedExample, ingested_examples
from knet.models.model_info import read_model_info

_BATCH_SIZE = 16
_DRAWS = 5  # models with random weights that heat maps are compared with


def write_explanations(model: Path, examples: Path, folder: Path, *, count: int) -> Path:
    """Write `explanations.json` and, beside it, each image that it lists, with and without its heat map.

    The JSON has `candidate`, `draws`, the mean `similarity`, and `images`, each with

    - `kind`: as `pick_images` returns it;
    - `path`, `patient`, `label`, `called` (predicted label) and `score` (`schema_names.SCORE`);
    - `image`, `overlay`: file names;
    - `empty`: whether no region supports the predicted label, so that the heat map is 0 everywhere;
    - `similarity`: mean rank correlation of its heat map with those of `draws` models with random weights
      (Adebayo et al., NeurIPS 2018); null where undefined, and then left out of the mean.

    Args:
        model: folder of a SavedModel, or of a TFX Model artifact.
        examples: folder of the ingested examples of the test split.
        folder: output folder; created if missing.
        count: number of images of each kind.

    Returns:
        The JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    info = read_model_info(model)
    served = model / artifact_files.SERVING_FORMAT
    loaded = tf.saved_model.load(str(served if served.is_dir() else model))
    chosen = _pick_examples(loaded, examples, threshold=info.calibration.threshold, count=count)
    images = [image for _, image in chosen]
    outputs = _infer(loaded, schema_names.EXPLAIN_SIGNATURE, images)
    similarities = _similarities(loaded, images, outputs[schema_names.HEAT_MAP])  # overwrites the weights
    entries = [
        {
            "kind": kind,
            "path": image.path,
            "patient": image.patient,
            "label": info.classes[image.label],
            "called": outputs[schema_names.PREDICTED_LABEL][row].decode(),
            "score": float(outputs[schema_names.SCORE][row]),
            **_write_pictures(folder, f"{kind}-{row + 1}", image.image, outputs[schema_names.HEAT_MAP][row]),
            "empty": not outputs[schema_names.HEAT_MAP][row].any(),
            "similarity": _mean(similarities[row]),
        }
        for row, (kind, image) in enumerate(chosen)
    ]
    tree = {
        "candidate": info.candidate,
        "draws": _DRAWS,
        "similarity": _mean(itertools.chain(*similarities)),
        "images": entries,
    }
    file = folder / run_files.EXPLANATIONS_FILE
    file.write_text(json.dumps(tree, indent=2), encoding="utf-8")
    return file


def _pick_examples(
    loaded: Any, examples: Path, *, threshold: float | None, count: int
) -> list[tuple[str, IngestedExample]]:
    """Return the images to explain with their kinds; other images are not held in memory."""
    outputs = _infer(loaded, schema_names.SERVING_SIGNATURE, ingested_examples(examples))
    labels = np.array([image.label for image in ingested_examples(examples)])
    patients = [image.patient for image in ingested_examples(examples)]
    probabilities = outputs[schema_names.PROBABILITIES]
    if probabilities.shape[1] == 2:
        assert threshold is not None
        picked = pick_images(outputs[schema_names.SCORE], labels, patients, threshold=threshold, count=count)
    else:
        picked = pick_images_of_classes(probabilities, labels, patients, count=count)
    places = {place for kind in picked.values() for place in kind}
    images = {place: image for place, image in enumerate(ingested_examples(examples)) if place in places}
    return [(kind, images[place]) for kind, places in picked.items() for place in places]


def _infer(loaded: Any, signature: str, images: Iterable[IngestedExample]) -> dict[str, NDArray[Any]]:
    """Return the outputs of a signature for all images, each [images, ...]."""
    remaining, batches = iter(images), []
    while batch := [image.image for image in itertools.islice(remaining, _BATCH_SIZE)]:
        batches.append(loaded.signatures[signature](**{schema_names.SERVING_INPUT: tf.constant(batch)}))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _similarities(
    loaded: Any, images: Sequence[IngestedExample], heat_maps: NDArray[np.floating]
) -> list[list[float | None]]:
    """Return the similarity of each heat map to those of the network with random weights, [images][draws].

    The weights of the loaded model are overwritten.
    """
    random = []
    for seed in range(_DRAWS):
        randomise_weights(loaded.variables, seed=seed)
        random.append(_infer(loaded, schema_names.EXPLAIN_SIGNATURE, images)[schema_names.HEAT_MAP])
    return [[similarity(heat, draw[row]) for draw in random] for row, heat in enumerate(heat_maps)]


def _write_pictures(folder: Path, name: str, encoded: bytes, heat: NDArray[np.floating]) -> dict[str, str]:
    files = {"image": f"{name}.png", "overlay": f"{name}-heat.png"}
    picture = thumbnail(Image.open(io.BytesIO(encoded)))
    picture.save(folder / files["image"])
    overlay(picture, heat).save(folder / files["overlay"])
    return files


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def pick_images(
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    patients: Sequence[str],
    *,
    threshold: float,
    count: int,
) -> dict[str, list[int]]:
    """Return the indices of the images of each kind, the most typical first.

    Args:
        scores: probability of the positive class, float [images].
        labels: true classes, int [images], 0 or 1.
        patients: patient of each image, [images]; a kind has at most one image of a patient.
        threshold: score from which an image is classified as positive.
        count: maximum number of images of a kind.

    Returns:
        - `certain`: correctly classified, with scores nearest to 0 or 1;
        - `wrong`: misclassified, with scores farthest from the label;
        - `uncertain`: neither of these, with scores nearest to the threshold.
    """
    return _pick(
        np.abs(scores - labels),
        np.abs(scores - threshold),
        correct=(scores >= threshold) == (labels == 1),
        patients=patients,
        count=count,
    )


def pick_images_of_classes(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], patients: Sequence[str], *, count: int
) -> dict[str, list[int]]:
    """Return the indices of the images of each kind, of more than two classes.

    Args:
        probabilities: of each class, float [images, classes].
        labels: true classes, int [images].
        patients: as of `pick_images`.
        count: as of `pick_images`.

    Returns:
        - `certain`: correctly classified, with the highest probability of their class;
        - `wrong`: misclassified, with the lowest probability of their class;
        - `uncertain`: neither of these, with the smallest lead of the likeliest class over the second.
    """
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return _pick(
        1 - probabilities[np.arange(len(labels)), labels],
        first - second,
        correct=probabilities.argmax(axis=1) == labels,
        patients=patients,
        count=count,
    )


def _pick(
    errors: NDArray[np.floating],
    margins: NDArray[np.floating],
    *,
    correct: NDArray[np.bool_],
    patients: Sequence[str],
    count: int,
) -> dict[str, list[int]]:
    """Return the images of each kind by distance from the label and from another decision, [images]."""
    order = {
        "certain": _ascending(errors, among=correct),
        "wrong": _ascending(-errors, among=~correct),
        "uncertain": _ascending(margins, among=np.ones_like(correct)),
    }
    picked: dict[str, list[int]] = {}
    for kind, places in order.items():
        taken = {place for others in picked.values() for place in others}
        first: dict[str, int] = {}
        for place in places:
            if place not in taken:
                first.setdefault(patients[place], place)
        picked[kind] = list(first.values())[:count]
    return picked


def _ascending(values: NDArray[np.floating], *, among: NDArray[np.bool_]) -> list[int]:
    return [int(place) for place in np.argsort(values, kind="stable") if among[place]]


_ONES: Final = ("gamma", "moving_variance")  # variables of which 1 is neutral


def randomise_weights(variables: Iterable[Any], *, seed: int) -> None:
    """Replace the weights of all layers by random ones (Adebayo et al., NeurIPS 2018).

    Kernels are normal with variance 2 / inputs (He et al., ICCV 2015), so that activations neither vanish nor
    overflow in a deep network. Batch normalisation becomes the identity, and biases are zero.

    Args:
        variables: of a loaded SavedModel, with Keras's names; assigned in place.
        seed: random seed.
    """
    rng = np.random.default_rng(seed)
    for variable in variables:
        if not variable.dtype.is_floating:
            continue
        name = variable.name.rpartition("/")[2].partition(":")[0]
        shape = tuple(variable.shape)
        if len(shape) > 1:
            inputs = np.prod(shape[:2] if "depthwise" in name else shape[:-1])
            variable.assign(rng.normal(0, np.sqrt(2 / inputs), shape))
        else:
            variable.assign(np.full(shape, float(name in _ONES)))


def similarity(first: NDArray[np.floating], second: NDArray[np.floating]) -> float | None:
    """Return Spearman's rank correlation of two heat maps [rows, columns], -1 to 1.

    It is undefined, None, if a map is constant or not finite.
    """
    if not all(np.isfinite(heat).all() and np.ptp(heat) > 0 for heat in (first, second)):
        return None
    return float(stats.spearmanr(first.ravel(), second.ravel()).statistic)
