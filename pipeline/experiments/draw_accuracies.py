"""Draws the accuracies of all models beside one another, as the paper's figure 21."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

_WIDTH = 0.8  # of the bars of one model together


def draw_accuracies(
    accuracies: Mapping[str, Mapping[str, Sequence[float]]], *, paper: Mapping[str, float], majority: float
) -> Figure:
    """A group of bars a model, one for each training, with intervals; what the paper reports is a mark.

    Args:
        accuracies: by the training's title and the model, value, low and high, 0 to 1.
        paper: what it reports for a model.
        majority: the accuracy of calling every image the class that most are of.
    """
    models = list(next(iter(accuracies.values())))
    figure = Figure(figsize=(2.5 + 1.6 * len(models), 4.2), layout="constrained")
    axes = figure.subplots()
    width = _WIDTH / len(accuracies)
    for place, (title, of_models) in enumerate(accuracies.items()):
        values, lows, highs = zip(*(of_models[model] for model in models), strict=True)
        below = [value - low for value, low in zip(values, lows, strict=True)]
        above = [high - value for value, high in zip(values, highs, strict=True)]
        left = [number - _WIDTH / 2 + (place + 0.5) * width for number in range(len(models))]
        axes.bar(left, values, width, label=title, yerr=(below, above), ecolor="0.3", capsize=2)
    for number, model in enumerate(models):
        if model in paper:
            label = "the paper" if model == next(name for name in models if name in paper) else None
            span = number - _WIDTH / 2, number + _WIDTH / 2
            axes.plot(span, (paper[model],) * 2, color="black", linewidth=2, label=label)
    axes.axhline(majority, color="0.5", linestyle=":", label="majority class")
    axes.set(ylim=(0, 1.05), ylabel="accuracy on test images")
    axes.set_xticks(range(len(models)), models)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
