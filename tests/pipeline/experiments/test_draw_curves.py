"""The curves are those of the histories."""

from __future__ import annotations

from typing import Any

from pipeline.experiments.draw_curves import draw_curves

ROWS = [
    {"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.25, "loss": 0.75, "val_loss": 1.5},
    {"epoch": 2, "accuracy": 0.75, "val_accuracy": 0.5, "loss": 0.5, "val_loss": 1.25},
]


def test_each_training_has_a_column_of_accuracy_and_loss() -> None:
    figure: Any = draw_curves("mobilenet", {"1 epoch": ROWS[:1], "2 epochs": ROWS})
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["1 epoch", "2 epochs", "", ""]
    _, accuracy, _, loss = figure.axes
    for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
        drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
        assert drawn == {
            "train": ([1, 2], [row[metric] for row in ROWS]),
            "validation": ([1, 2], [row[f"val_{metric}"] for row in ROWS]),
        }
