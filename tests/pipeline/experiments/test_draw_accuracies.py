"""The bars are the accuracies, with their intervals and the paper's beside them."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.experiments.draw_accuracies import draw_accuracies


def test_each_model_has_a_bar_for_each_training() -> None:
    accuracies = {
        "1 epoch": {"vgg16": [0.5, 0.25, 0.625], "resnet152": [0.75, 0.5, 0.875]},
        "2 epochs": {"vgg16": [0.625, 0.5, 0.75], "resnet152": [0.875, 0.75, 1.0]},
    }
    figure: Any = draw_accuracies(accuracies, paper={"resnet152": 0.92}, majority=0.7)
    (axes,) = figure.axes
    heights = [bar.get_height() for bars in axes.containers if hasattr(bars, "patches") for bar in bars]
    assert heights == [0.5, 0.75, 0.625, 0.875]
    errors = [segment for lines in axes.collections for segment in lines.get_segments()]
    assert [(s[0][1], s[1][1]) for s in errors] == [(0.25, 0.625), (0.5, 0.875), (0.5, 0.75), (0.75, 1.0)]
    lines = {line.get_label(): line.get_ydata()[0] for line in axes.lines}
    assert lines["the paper"] == 0.92
    assert lines["majority class"] == 0.7
    assert [label.get_text() for label in axes.get_xticklabels()] == ["vgg16", "resnet152"]
    assert axes.get_ylim() == pytest.approx((0, 1.05))
