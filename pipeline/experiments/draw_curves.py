"""Draws how trainings went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

_ROWS = {"accuracy": "accuracy", "loss": "loss"}


def draw_curves(title: str, histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Accuracy and loss by epoch on train and validation images, a column for each training.

    Args:
        title: of the figure.
        histories: by the column's title, the rows of a `history.json`.
    """
    figure = Figure(figsize=(1.2 + 2.6 * len(histories), 4.8), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(_ROWS), len(histories), sharex="col", sharey="row", squeeze=False)
    for axes_row, (metric, label) in zip(grid, _ROWS.items(), strict=True):
        axes_row[0].set_ylabel(label)
        for axes, (name, rows) in zip(axes_row, histories.items(), strict=True):
            epochs = [row["epoch"] for row in rows]
            axes.plot(epochs, [row[metric] for row in rows], label="train")
            axes.plot(epochs, [row[f"val_{metric}"] for row in rows], label="validation")
            axes.grid(alpha=0.3)
            if metric == "accuracy":
                axes.set_title(name, fontsize="medium")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    grid[0][0].legend(loc="best", fontsize="small")
    return figure
