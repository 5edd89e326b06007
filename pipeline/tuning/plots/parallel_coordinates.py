"""Every hyperparameter and the objective side by side, a line a trial."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.tuning.plots.canvas import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Canvas, Scale, shade
from pipeline.tuning.trials_table import COMPLETED, best_trial, worst_score


def parallel_coordinates(trials: pd.DataFrame, *, names: Sequence[str], objective: str) -> str:
    """An SVG with an axis for each of the names and the objective; better lines are darker, the best red."""
    done = trials[trials["state"] == COMPLETED]
    best = best_trial(trials, objective=objective)
    worst = worst_score(trials, objective=objective)
    canvas = Canvas("All that was searched, a line a completed trial")
    axes = [*names, objective]
    step = (WIDTH - LEFT - RIGHT - 20) / (len(axes) - 1)
    places = {name: LEFT + step * number for number, name in enumerate(axes)}
    scales = {
        name: Scale(done[name].tolist(), HEIGHT - BOTTOM, TOP + 12, log=name == "learning_rate")
        for name in axes
    }
    for name, place in places.items():
        canvas.line([(place, TOP + 12), (place, HEIGHT - BOTTOM)], colour="#888")
        canvas.text(place, HEIGHT - BOTTOM + 36, name)
        for value in scales[name].ticks(count=2):
            edge = scales[name](value)
            canvas.text(place, edge + (16 if edge > HEIGHT / 2 else -6), f"{value:.3g}")
    for row in done.sort_values(objective, key=lambda scores: -abs(scores - best[objective])).to_dict(
        "records"
    ):
        is_best = row["trial"] == best["trial"]
        colour = "#c22" if is_best else shade(row[objective], best=best[objective], worst=worst)
        points = [(places[name], scales[name](row[name])) for name in axes]
        canvas.line(points, colour=colour, width=2.5 if is_best else 1.2)
    return canvas.svg()
