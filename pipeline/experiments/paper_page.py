"""HTML page of the paper's comparison: figures and tables with the paper's numbers beside ours."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from knet.report.sections import PAPER_ACCURACY, YEAR
from pipeline.experiments.paper import EARLY_STOPPING


def write_paper_page(folder: Path, results: dict[str, Any]) -> Path:
    """Write `paper.html`, a page without external files, and `paper.json`; return the page's path.

    Args:
        folder: folder to write to.
        results: as returned by `run_paper`.
    """
    runs, titles = results["runs"], {one["name"]: one["title"] for one in results["schedules"]}
    lengths = [one["name"] for one in results["schedules"] if not one["deep"]]
    depths = [EARLY_STOPPING, *(one["name"] for one in results["schedules"] if one["deep"])]
    models = list(runs[EARLY_STOPPING])
    curves = {
        model: _svg(draw_curves(model, {titles[name]: runs[name][model]["epochs"] for name in lengths}))
        for model in models
    }
    bars = draw_accuracies(
        {
            titles[name]: {model: runs[name][model]["metrics"]["accuracy"] for model in models}
            for name in lengths
        },
        paper=PAPER_ACCURACY,
        majority=runs[EARLY_STOPPING][models[0]]["majority_share"],
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["interval"] = _interval
    template = environment.from_string(
        (resources.files("pipeline.experiments") / "paper.html").read_text(encoding="utf-8")
    )
    page = folder / "paper.html"
    text = template.render(
        **results,
        titles={**titles, EARLY_STOPPING: titles[EARLY_STOPPING]},
        lengths=lengths,
        depths=depths,
        models=models,
        stopped=EARLY_STOPPING,
        paper={"ACCURACY": PAPER_ACCURACY, "STOPPED_AFTER": STOPPED_AFTER, "YEAR": YEAR},
        curves=curves,
        bars=_svg(bars),
    )
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    page.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return page


def _svg(figure: Figure) -> Markup:
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    text = stream.getvalue()
    return Markup(text[text.index("<svg") :])  # HTML has no XML prologue


def _interval(estimate: Sequence[float]) -> str:
    value, low, high = estimate
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


# Epochs of the paper's early stopping, by model.
STOPPED_AFTER: Final = {"mobilenet": 43, "vgg16": 43, "resnet101": 103, "resnet152": 74}


_WIDTH = 0.8  # of the group of bars of one model


def draw_accuracies(
    accuracies: Mapping[str, Mapping[str, Sequence[float]]], *, paper: Mapping[str, float], majority: float
) -> Figure:
    """Draw a group of bars for each model, a bar for each schedule, with intervals and the paper's numbers.

    Args:
        accuracies: value, low and high (0 to 1) by title of the schedule and model.
        paper: accuracy of the paper by model, drawn as a line.
        majority: accuracy of predicting the majority class, drawn as a line.
    """
    models = list(next(iter(accuracies.values())))
    figure = Figure(figsize=(2.5 + 1.6 * len(models), 4.2), layout="constrained")
    axes = figure.subplots()
    width = _WIDTH / len(accuracies)
    for index, (title, by_model) in enumerate(accuracies.items()):
        values, lows, highs = zip(*(by_model[model] for model in models), strict=True)
        below = [value - low for value, low in zip(values, lows, strict=True)]
        above = [high - value for value, high in zip(values, highs, strict=True)]
        left = [number - _WIDTH / 2 + (index + 0.5) * width for number in range(len(models))]
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


_ROWS = {"accuracy": "accuracy", "loss": "loss"}


def draw_curves(title: str, histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Draw accuracy and loss by epoch on train and validation images, a column for each schedule.

    Args:
        title: of the figure.
        histories: rows of a `history.json` by title of the column.
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
