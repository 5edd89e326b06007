"""Plots of a search are valid SVG with a mark for each trial, whatever the scores."""

from __future__ import annotations

from xml.etree import ElementTree

import pandas as pd
import pytest

from knet.tuning.plots import lr_momentum_scatter, optimization_history, parallel_coordinates, shade

SVG = "{http://www.w3.org/2000/svg}"
TRIALS = pd.DataFrame(
    {
        "trial": [0, 1, 2, 3],
        "source": ["paper", "random", "random", "random"],
        "state": ["completed", "failed", "completed", "completed"],
        "learning_rate": [0.001, 0.1, 0.01, 0.03],
        "momentum": [0.9, 0.5, 0.6, 0.7],
        "val_loss": [0.5, None, 0.2, 0.7],
    }
)


def marks(svg: str, kind: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f"{SVG}{kind}")


def test_lr_momentum_scatter_has_a_dot_per_trial_and_rings_the_best() -> None:
    dots = marks(lr_momentum_scatter(TRIALS, objective="val_loss"), "circle")
    titles = [dot.findtext(f"{SVG}title") for dot in dots]
    assert titles[0] == "trial 0 (paper): val_loss 0.5" and titles[1] == "trial 1 (random): failed"
    assert ["stroke" in dot.attrib for dot in dots] == [False, False, True, False]
    x = [float(dot.attrib["cx"]) for dot in dots]
    assert x[2] - x[0] == pytest.approx(x[1] - x[2], abs=0.2)  # a log scale
    best, worst = dots[2].attrib["fill"], dots[3].attrib["fill"]
    assert best == shade(0.2, best=0.2, worst=0.7) and worst == shade(0.7, best=0.2, worst=0.7) != best


def test_optimization_history_never_gets_worse() -> None:
    for objective, rising in (("val_loss", False), ("balanced_accuracy", True)):
        trials = TRIALS.rename(columns={"val_loss": objective})
        svg = optimization_history(trials, objective=objective)
        assert len(marks(svg, "circle")) == 3
        heights = [float(p.split(",")[1]) for p in marks(svg, "polyline")[-1].attrib["points"].split()]
        ordered = sorted(heights, reverse=rising)  # pixels count downwards
        assert heights == ordered and len(set(heights)) == 2


def test_parallel_coordinates_draw_the_best_completed_trial_last() -> None:
    svg = parallel_coordinates(TRIALS, names=["learning_rate", "momentum"], objective="val_loss")
    lines = [line for line in marks(svg, "polyline") if len(line.attrib["points"].split()) == 3]
    assert len(lines) == 3
    assert [line.attrib["stroke"] for line in lines].index("#c22") == 2


@pytest.mark.parametrize("count", [1, 2])
def test_plots_of_few_or_equal_trials_are_valid_svg(count: int) -> None:
    trials = TRIALS[:1].loc[[0] * count].reset_index(drop=True)
    for svg in (
        lr_momentum_scatter(trials, objective="val_loss"),
        parallel_coordinates(trials, names=["learning_rate", "momentum"], objective="val_loss"),
        optimization_history(trials, objective="val_loss"),
    ):
        assert "nan" not in svg and ElementTree.fromstring(svg).tag == f"{SVG}svg"
