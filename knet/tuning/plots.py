"""SVG plots of a search: optimization history, parallel coordinates, learning rate and momentum.

Each plot is a file that can be viewed alone; text takes the colour of the page it is shown in.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from markupsafe import Markup

from knet.base.svg import Point, Scale, element
from knet.tuning.plan import DIRECTIONS
from knet.tuning.trials import COMPLETED, best_trial, worst_score

# About the width of a phone, and of a chart on the report page, so that text is as large as the page's.
_WIDTH, _HEIGHT = 400, 280  # pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 30, 48  # margins
_ROW = 60  # pixels between the axes of parallel coordinates
_INSET = 12  # pixels between an axis and the nearest mark
_HIGHLIGHT, _AXIS, _FAILED = "#c22", "#888", "#8886"
_BEST, _WORST = (27, 94, 168), (226, 190, 120)  # RGB


def optimization_history(trials: pd.DataFrame, *, objective: str) -> Markup:
    """Draw the score of each completed trial, and the best score so far as a line.

    Args:
        trials: as of `trials_table`, with one completed trial at least.
        objective: its column.
    """
    completed = trials[trials["state"] == COMPLETED]
    scores = completed[objective]
    best = scores.cummin() if DIRECTIONS[objective] == "min" else scores.cummax()
    x, y = _scales([0, max(1, len(trials) - 1)], scores.tolist())
    steps: list[Point] = []
    for trial, value in zip(completed["trial"], best, strict=True):
        steps += [(x(trial), steps[-1][1])] if steps else []
        steps.append((x(trial), y(value)))
    dots = [
        _dot(x(trial), y(value), f"trial {trial}: {value:.4g}", colour=shade(0, best=0, worst=0))
        for trial, value in zip(completed["trial"], scores, strict=True)
    ]
    first = "paper's" if "momentum" in trials else "default"
    axes = _axes(x, y, x_name=f"trial; the first has the {first} values", y_name=objective, whole_x=True)
    return _figure(f"Best {objective} so far", axes, _polyline(steps, colour=_HIGHLIGHT, width=2), *dots)


def parallel_coordinates(trials: pd.DataFrame, *, names: Sequence[str], objective: str) -> Markup:
    """Draw each completed trial as a line down the axes of the hyperparameters, to that of the objective.

    Better trials are darker; the best is red.

    Args:
        trials: as of `trials_table`, with one completed trial at least.
        names: columns of the hyperparameters.
        objective: its column.
    """
    completed = trials[trials["state"] == COMPLETED]
    best = best_trial(trials, objective=objective)
    worst = worst_score(trials, objective=objective)
    columns = [*names, objective]
    places = {name: _TOP + 2.0 * _INSET + _ROW * number for number, name in enumerate(columns)}
    left, right = float(_RIGHT), float(_WIDTH - _RIGHT)
    scales = {
        name: Scale.spanning(
            completed[name].tolist(), left + _INSET, right - _INSET, log=name == "learning_rate"
        )
        for name in columns
    }
    shapes = []
    for name, place in places.items():
        low, high = (f"{value:.3g}" for value in scales[name].even_ticks(count=2))
        shapes += [
            _polyline([(left, place), (right, place)], colour=_AXIS),
            _text(left, place - 6, name, anchor="start"),
            _text(left, place + 16, low, anchor="start"),
            _text(right, place + 16, high, anchor="end"),
        ]
    by_score = completed.sort_values(objective, key=lambda scores: -abs(scores - best[objective]))
    for row in by_score.to_dict("records"):
        is_best = row["trial"] == best["trial"]
        colour = _HIGHLIGHT if is_best else shade(row[objective], best=best[objective], worst=worst)
        points = [(scales[name](row[name]), places[name]) for name in columns]
        shapes.append(_polyline(points, colour=colour, width=2.5 if is_best else 1.2))
    height = int(max(places.values())) + 2 * _INSET
    return _figure("Hyperparameters and objective, a line per trial", *shapes, left=left, height=height)


def lr_momentum_scatter(trials: pd.DataFrame, *, objective: str) -> Markup:
    """Draw each trial by its learning rate and momentum.

    Better trials are darker, the best has a ring, and failed ones are grey.

    Args:
        trials: as of `trials_table`, with one completed trial at least.
        objective: its column.
    """
    best = best_trial(trials, objective=objective)
    worst = worst_score(trials, objective=objective)
    x, y = _scales(trials["learning_rate"].tolist(), trials["momentum"].tolist(), log_x=True)
    dots = []
    for row in trials.to_dict("records"):
        completed = row["state"] == COMPLETED
        colour = shade(row[objective], best=best[objective], worst=worst) if completed else _FAILED
        result = f"{objective} {row[objective]:.4g}" if completed else row["state"]
        tooltip = f"trial {row['trial']} ({row['source']}): {result}"
        place = x(row["learning_rate"]), y(row["momentum"])
        dots.append(_dot(*place, tooltip, colour=colour, ring=row["trial"] == best["trial"]))
    axes = _axes(x, y, x_name="learning rate (log)", y_name="momentum")
    return _figure(f"Learning rate and momentum, by {objective}", axes, *dots)


def shade(score: float, *, best: float, worst: float) -> str:
    """Return the colour of a score, as `#rrggbb`: the better, the darker."""
    share = 0.0 if best == worst else (score - best) / (worst - best)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(_BEST, _WORST, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _figure(title: str, *shapes: Markup, left: float = _LEFT, height: int = _HEIGHT) -> Markup:
    return element(
        "svg",
        element("title", title),
        element("text", title, x=left, y=18, font_weight=600),
        *shapes,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        width=_WIDTH,
        font_family="system-ui, sans-serif",
        font_size=12,
        fill="currentColor",
    )


def _scales(x: Sequence[float], y: Sequence[float], *, log_x: bool = False) -> tuple[Scale, Scale]:
    return (
        Scale.spanning(x, _LEFT + _INSET, _WIDTH - _RIGHT - _INSET, log=log_x),
        Scale.spanning(y, _HEIGHT - _BOTTOM - _INSET, _TOP + _INSET),
    )


def _axes(x: Scale, y: Scale, *, x_name: str, y_name: str, whole_x: bool = False) -> Markup:
    """Draw both axes with their names and ticks."""
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    shapes = [_polyline([(_LEFT, _TOP), (_LEFT, bottom), (right, bottom)], colour=_AXIS)]
    for value in sorted({round(tick) for tick in x.even_ticks()} if whole_x else x.even_ticks()):
        shapes.append(_text(x(value), bottom + 18, f"{value:.3g}"))
    for value in y.even_ticks():
        shapes.append(_text(_LEFT - 6, y(value) + 4, f"{value:.3g}", anchor="end"))
    shapes.append(_text((_LEFT + right) / 2, _HEIGHT - 14, x_name))
    shapes.append(_text(18, (_TOP + bottom) / 2, y_name, rotate=True))
    return Markup("").join(shapes)


def _text(x: float, y: float, text: str, *, anchor: str = "middle", rotate: bool = False) -> Markup:
    rotation = f"rotate(-90 {x:.1f} {y:.1f})" if rotate else None
    return element("text", text, x=float(x), y=float(y), text_anchor=anchor, transform=rotation)


def _polyline(points: Sequence[Point], *, colour: str, width: float = 1) -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element("polyline", points=path, fill="none", stroke=colour, stroke_width=width)


def _dot(x: float, y: float, tooltip: str, *, colour: str, ring: bool = False) -> Markup:
    stroke = {"stroke": _HIGHLIGHT, "stroke_width": 2.5} if ring else {}
    return element("circle", element("title", tooltip), cx=x, cy=y, r=6, fill=colour, **stroke)
