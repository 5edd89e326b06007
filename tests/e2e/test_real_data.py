"""The 116 real images with a small candidate that has ImageNet weights, and two Beam processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def test_real_images_end_with_a_pushed_model(make_knet: Callable[..., Any], shared_data: Path) -> None:
    weights = shared_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    finished = make_knet().run(
        f"candidates={{mobilenet: {{alpha: 0.25, weights: {weights}}}}}",
        "image.normalisation=backbone",
        "beam.workers=2",
        data=shared_data / "breakhis_real",
    )
    assert finished.code == 0, finished.stdout + finished.stderr
    assert set(finished.states().values()) == {"done"}
    assert "served version: " in finished.stdout
    assert "synthetic" not in finished.stdout
    assert finished.connections == []
    lines = [line.split() for line in finished.stdout.splitlines()]
    assert sum(int(words[3]) for words in lines if words[2:3] == ["patients"]) == 116
