"""How the objective got better from trial to trial."""

from __future__ import annotations

import pandas as pd

from pipeline.tuning.objective import DIRECTIONS
from pipeline.tuning.plots.canvas import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Canvas, Scale, shade
from pipeline.tuning.trials_table import COMPLETED


def best_so_far(trials: pd.DataFrame, *, objective: str) -> str:
    """An SVG with a dot for each completed trial, and a line of the best until then."""
    done = trials[trials["state"] == COMPLETED]
    scores = done[objective]
    best = scores.cummin() if DIRECTIONS[objective] == "min" else scores.cummax()
    canvas = Canvas(f"Best {objective} so far")
    x = Scale([0, max(1, len(trials) - 1)], LEFT + 12, WIDTH - RIGHT - 12)
    y = Scale(scores.tolist(), HEIGHT - BOTTOM - 12, TOP + 12)
    canvas.axes(x, y, x_name="trial; the first has the paper's values", y_name=objective, whole_x=True)
    steps: list[tuple[float, float]] = []
    for trial, value in zip(done["trial"], best, strict=True):
        steps += [(x(trial), steps[-1][1])] if steps else []
        steps.append((x(trial), y(value)))
    canvas.line(steps, colour="#c22", width=2)
    for trial, value in zip(done["trial"], scores, strict=True):
        canvas.dot(x(trial), y(value), f"trial {trial}: {value:.4g}", colour=shade(0, best=0, worst=0))
    return canvas.svg()
