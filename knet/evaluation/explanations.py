"""Explains a model's answers to test images: pictures, and a JSON file that says what they are."""

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

from knet.base import schema_names
from knet.base.heat_maps import overlay, thumbnail
from knet.models.model_info import read_model_info
from knet.training.dataset import IngestedExample, ingested_examples

EXPLANATIONS: Final = "explanations.json"
_BATCH = 16  # images at once
_DRAWS = 5  # models with random weights, whose heat maps are compared


def write_explanations(model: Path, examples: Path, folder: Path, *, count: int) -> Path:
    """Writes `explanations.json` and, beside it, each image that it lists, without and with its heat map.

    The JSON holds `images`, each with `kind` (as `pick_images` has them), `path`, `patient`, `label`,
    `called`, `score`, the files `image` and `overlay`, and `similarity`, of its heat map to those of `draws`
    models with random weights, on average (Adebayo et al., NeurIPS 2018); and the mean `similarity` of all.
    One that is undefined is null, and does not count.

    Args:
        model: folder of the SavedModel, or of a TFX Model artifact.
        examples: folder of the ingested examples of the test split.
        folder: where; made where it is missing.
        count: images of each kind.

    Returns:
        The JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    info = read_model_info(model)
    served = model / "Format-Serving"
    loaded = tf.saved_model.load(str(served if served.is_dir() else model))
    chosen = _choose(loaded, examples, threshold=info.calibration.threshold, count=count)
    images = [image for _, image in chosen]
    answers = _ask(loaded, schema_names.EXPLAIN_SIGNATURE, images)
    alike = _similarities(loaded, images, answers[schema_names.HEAT_MAP])  # from here on it knows nothing
    entries = [
        {
            "kind": kind,
            "path": image.path,
            "patient": image.patient,
            "label": info.classes[image.label],
            "called": answers[schema_names.PREDICTED_LABEL][row].decode(),
            "score": float(answers[schema_names.SCORE][row]),
            **_write_pictures(folder, f"{kind}-{row + 1}", image.image, answers[schema_names.HEAT_MAP][row]),
            "similarity": _mean(alike[row]),
        }
        for row, (kind, image) in enumerate(chosen)
    ]
    tree = {
        "candidate": info.candidate,
        "draws": _DRAWS,
        "similarity": _mean(itertools.chain(*alike)),
        "images": entries,
    }
    file = folder / EXPLANATIONS
    file.write_text(json.dumps(tree, indent=2), encoding="utf-8")
    return file


def _choose(
    loaded: Any, examples: Path, *, threshold: float, count: int
) -> list[tuple[str, IngestedExample]]:
    """Kind and image of what is to be explained; only these are held in memory."""
    scores = _ask(loaded, schema_names.SERVING_SIGNATURE, ingested_examples(examples))[schema_names.SCORE]
    known = [(image.label, image.patient) for image in ingested_examples(examples)]
    picked = pick_images(
        scores,
        np.array([label for label, _ in known]),
        [patient for _, patient in known],
        threshold=threshold,
        count=count,
    )
    places = {place for kind in picked.values() for place in kind}
    images = {place: image for place, image in enumerate(ingested_examples(examples)) if place in places}
    return [(kind, images[place]) for kind, places in picked.items() for place in places]


def _ask(loaded: Any, signature: str, images: Iterable[IngestedExample]) -> dict[str, NDArray[Any]]:
    """The outputs of a signature for all images."""
    left, answers = iter(images), []
    while batch := [image.image for image in itertools.islice(left, _BATCH)]:
        answers.append(loaded.signatures[signature](**{schema_names.SERVING_INPUT: tf.constant(batch)}))
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _similarities(
    loaded: Any, images: Sequence[IngestedExample], heat_maps: NDArray[np.floating]
) -> list[list[float | None]]:
    """For each image, how like its heat map is to those of the model with other weights, each random."""
    random = []
    for seed in range(_DRAWS):
        randomise_weights(loaded.variables, seed=seed)
        random.append(_ask(loaded, schema_names.EXPLAIN_SIGNATURE, images)[schema_names.HEAT_MAP])
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
    """Places of the images of each kind, the most typical first.

    Args:
        scores: [images], the probability of the positive class.
        labels: [images], 0 or 1.
        patients: [images]; of each at most one image is of a kind.
        threshold: from which an image is called positive.
        count: images of a kind, where there are as many.

    Returns:
        `certain`, rightly called and nearest to a probability of 0 or 1; `wrong`, wrongly called and farthest
        from what they are; `uncertain`, nearest to the threshold and neither of these.
    """
    right = (scores >= threshold) == (labels == 1)
    off = np.abs(scores - labels)
    order = {
        "certain": _ascending(off, among=right),
        "wrong": _ascending(-off, among=~right),
        "uncertain": _ascending(np.abs(scores - threshold), among=np.ones_like(right)),
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


_ONES = ("gamma", "moving_variance")


def randomise_weights(variables: Iterable[Any], *, seed: int) -> None:
    """Gives all layers of a loaded SavedModel new random weights (Adebayo et al., NeurIPS 2018).

    Kernels are normal with the variance 2 / inputs (He et al., ICCV 2015), so that values neither vanish nor
    overflow in a deep network; normalisations do nothing, and biases are zero.

    Args:
        variables: of the model, with Keras's names; changed in place.
        seed: of the weights.
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


def similarity(one: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """Spearman's rank correlation over the places of two maps [rows, columns], -1 to 1.

    None where it is undefined: a map is the same everywhere, or not finite.
    """
    if not all(np.isfinite(heat).all() and np.ptp(heat) > 0 for heat in (one, other)):
        return None
    return float(stats.spearmanr(one.ravel(), other.ravel()).statistic)
