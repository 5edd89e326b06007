"""Images of each kind, by hand."""

from __future__ import annotations

import numpy as np

from pipeline.explanations.pick_images import pick_images


def pick(scores: list[float], labels: list[int], patients: str, *, count: int = 2) -> dict[str, list[int]]:
    return pick_images(np.array(scores), np.array(labels), list(patients), threshold=0.4, count=count)


def test_most_typical_first_and_none_twice() -> None:
    scores, labels = [0.995, 0.01, 0.98, 0.45, 0.9, 0.35], [1, 0, 0, 0, 1, 0]
    assert pick(scores, labels, "abcdef") == {"certain": [0, 1], "wrong": [2, 3], "uncertain": [5, 4]}


def test_a_kind_has_one_image_a_patient() -> None:
    picked = pick([0.99, 0.98, 0.97, 0.96], [1, 1, 1, 1], "aaab")
    assert picked["certain"] == [0, 3]
    assert picked["wrong"] == []


def test_fewer_images_than_asked_for() -> None:
    assert pick([0.9], [1], "a", count=5) == {"certain": [0], "wrong": [], "uncertain": []}
