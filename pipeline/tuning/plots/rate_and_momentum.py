"""Learning rate by momentum, with the objective as colour."""

from __future__ import annotations

import pandas as pd

from pipeline.tuning.plots.canvas import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Canvas, Scale, shade
from pipeline.tuning.trials_table import COMPLETED, best_trial, worst_score

_FAILED = "#8886"


def rate_and_momentum(trials: pd.DataFrame, *, objective: str) -> str:
    """An SVG with a dot a trial, darker where it is better; the best has a ring, failed ones are grey."""
    best = best_trial(trials, objective=objective)
    worst = worst_score(trials, objective=objective)
    canvas = Canvas(f"Learning rate and momentum, by {objective}")
    x = Scale(trials["learning_rate"].tolist(), LEFT + 12, WIDTH - RIGHT - 12, log=True)
    y = Scale(trials["momentum"].tolist(), HEIGHT - BOTTOM - 12, TOP + 12)
    canvas.axes(x, y, x_name="learning rate (log)", y_name="momentum")
    for row in trials.to_dict("records"):
        done = row["state"] == COMPLETED
        colour = shade(row[objective], best=best[objective], worst=worst) if done else _FAILED
        result = f"{objective} {row[objective]:.4g}" if done else row["state"]
        words = f"trial {row['trial']} ({row['source']}): {result}"
        place = x(row["learning_rate"]), y(row["momentum"])
        canvas.dot(*place, words, colour=colour, ring=row["trial"] == best["trial"])
    return canvas.svg()
