"""HTML page of the paper's comparison: figures and tables with the paper's numbers beside ours."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from knet.base.files import atomic_write
from knet.base.split_units import leak_warning
from knet.report import published
from knet.report.charts import Axis, Bar, Chart, Line, bar_chart, line_chart
from knet.report.report import environment
from pipeline.experiments.paper import EARLY_STOPPING

PAGE: Final = "paper.html"
_MEASURES: Final = ("loss", "accuracy")


def write_paper_page(folder: Path, results: dict[str, Any]) -> Path:
    """Write `paper.html`, a page without external files, and `paper.json`; return the page's path.

    Args:
        folder: folder to write to.
        results: as returned by `run_paper`.
    """
    template = environment("pipeline.experiments").get_template("paper_page.html")
    first = next(iter(results["models"].values()))
    text = template.render(
        **results,
        leak=leak_warning(results["config"]["data"]["split"]["unit"]),
        early_stopping=EARLY_STOPPING,
        majority_share=first["majority_share"],
        published=published,
        bars=draw_accuracies(results["models"], results["evaluations"], majority=first["majority_share"]),
        legend_bars=_legend_bars(results["evaluations"]),
        panels={name: draw_curves(results, name) for name in results["models"]},
    )
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / PAGE
    atomic_write(page, text)
    atomic_write(page.with_suffix(".json"), json.dumps(results, indent=1) + "\n")
    return page


_COLOURS: Final = (1, 3, 4, 5, 6)  # of the evaluations; that of the paper's numbers is the one in between
_PAPER_COLOUR: Final = 2


def draw_accuracies(
    models: Mapping[str, Mapping[str, Any]], evaluations: Mapping[str, str], *, majority: float
) -> Markup:
    """Draw a group of bars for each model: a bar for each evaluation, with interval, and the paper's number.

    Args:
        models: results by name.
        evaluations: titles by name.
        majority: accuracy of predicting the majority class, marked with a line.
    """
    groups, texts = [], []
    for model, result in models.items():
        bars = []
        for colour, name in zip(_COLOURS, evaluations, strict=False):
            value, low, high = result["metrics"][name]["accuracy"]
            bars.append(Bar(value, f"{value:.3f}", colour=colour, interval=(low, high)))
        backbone = result["backbone"]
        number = published.accuracy_text(backbone)
        bars.append(Bar(published.ACCURACY.get(backbone), number, colour=_PAPER_COLOUR, hollow=True))
        groups.append((model, bars))
        ours = ", ".join(
            f"{title} {bar.text}" for title, bar in zip(evaluations.values(), bars, strict=False)
        )
        texts.append(f"{model}: {ours}, the paper {number}")
    label = f"Accuracy on test images. {'; '.join(texts)}"
    return bar_chart(groups, axis="accuracy on test images", label=label, at=majority)


def _legend_bars(evaluations: Mapping[str, str]) -> list[Line]:
    ours = [Line(title, (), colour) for colour, title in zip(_COLOURS, evaluations.values(), strict=False)]
    return [*ours, Line("the paper", (), _PAPER_COLOUR, dashed=True)]


def draw_curves(results: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Draw a model's loss and accuracy by epoch, a panel for each figure of the paper.

    All models have the same axes. The epochs where early stopping stopped, here and in the paper, are
    vertical lines.

    Args:
        results: as returned by `run_paper`.
        name: of the model.

    Returns:
        For each panel its `chart`, its `caption`, and the `number` of the figure, None if the paper has none.
    """
    model = results["models"][name]
    numbers = published.FIGURES.get(model["backbone"])
    kinds = [(measure, length) for length in results["drawn_epochs"] for measure in _MEASURES]
    return [
        {
            "number": numbers[index] if numbers else None,
            "caption": f"{measure}, {length} epochs",
            "chart": _panel(results, name, measure, length),
        }
        for index, (measure, length) in enumerate(kinds)
    ]


def _panel(results: Mapping[str, Any], name: str, measure: str, length: int) -> Chart:
    model = results["models"][name]
    rows = [row for row in model["epochs"] if row["epoch"] <= length]
    top = 1.0 if measure == "accuracy" else _greatest_loss(results)
    lines = [
        Line(part, [(row["epoch"], row[key]) for row in rows], colour, dashed=colour == _PAPER_COLOUR)
        for part, key, colour in (("train", measure, 1), ("validation", f"val_{measure}", _PAPER_COLOUR))
    ]
    stops = (
        ("early stopping", model["stopped_after"], 3),
        ("the paper's early stopping", published.STOPPED_AFTER.get(model["backbone"]), 0),
    )
    lines += [
        Line(f"{title}, {epoch}", [(epoch, 0), (epoch, top)], colour, dashed=True)
        for title, epoch, colour in stops
        if epoch is not None and epoch <= length
    ]
    last = ", ".join(f"{line.name} {line.points[-1][1]:.3f}" for line in lines[:2])
    return line_chart(
        lines,
        x=Axis("epoch", 1, length, whole=True),
        y=Axis(measure, 0, top),
        label=f"{measure} of {name} over {length} epochs; after the last: {last}",
    )


def _greatest_loss(results: Mapping[str, Any]) -> float:
    """Return the greatest finite loss of all models."""
    keys: Sequence[str] = ("loss", "val_loss")
    losses = [row[key] for model in results["models"].values() for row in model["epochs"] for key in keys]
    return max(filter(math.isfinite, losses), default=1.0) or 1.0
