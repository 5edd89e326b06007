"""A small SVG figure with axes; colours follow the page that it stands in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import pandas as pd

from knet.tuning.plan import DIRECTIONS
from knet.tuning.trials import COMPLETED, best_trial, worst_score

WIDTH, HEIGHT = 640, 400  # pixels
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 30, 56  # margins
_BEST, _WORST = (27, 94, 168), (226, 190, 120)


class Scale:
    """Places numbers between two pixels, on a linear or a log scale."""

    def __init__(self, values: Sequence[float], begin: float, end: float, *, log: bool = False) -> None:
        """Takes the numbers that must fit, and the pixels of the least and the greatest."""
        self._map: Callable[[float], float] = math.log10 if log else float
        low, high = min(map(self._map, values)), max(map(self._map, values))
        if low == high:
            low, high = low - 0.5, high + 0.5
        self._low, self._high, self._begin, self._end, self._log = low, high, begin, end, log

    def __call__(self, value: float) -> float:
        """The pixel."""
        share = (self._map(value) - self._low) / (self._high - self._low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self, count: int = 5) -> list[float]:
        """Some numbers, evenly spaced on the scale, its ends included."""
        step = (self._high - self._low) / (count - 1)
        places = [self._low + step * place for place in range(count)]
        return [10**place for place in places] if self._log else places


class Canvas:
    """Collects shapes and writes them out."""

    def __init__(self, title: str) -> None:
        """Begins an empty figure."""
        self._title = title
        self._shapes: list[str] = []

    def text(self, x: float, y: float, words: str, *, anchor: str = "middle", turn: bool = False) -> None:
        """Writes."""
        turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turned}>{escape(words)}</text>'
        )

    def line(self, points: Sequence[tuple[float, float]], *, colour: str, width: float = 1) -> None:
        """Draws through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'
        )

    def dot(self, x: float, y: float, words: str, *, colour: str, ring: bool = False) -> None:
        """Draws a dot that says `words` under the pointer."""
        stroke = ' stroke="#c22" stroke-width="2.5"' if ring else ""
        self._shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}"{stroke}>'
            f"<title>{escape(words)}</title></circle>"
        )

    def axes(self, x: Scale, y: Scale, *, x_name: str, y_name: str, whole_x: bool = False) -> None:
        """Draws both axes with their names and ticks."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        self.line([(LEFT, TOP), (LEFT, bottom), (right, bottom)], colour="#888")
        for value in sorted({round(v) for v in x.ticks()} if whole_x else x.ticks()):
            self.text(x(value), bottom + 18, f"{value:.3g}")
        for value in y.ticks():
            self.text(LEFT - 6, y(value) + 4, f"{value:.3g}", anchor="end")
        self.text((LEFT + right) / 2, HEIGHT - 14, x_name)
        self.text(18, (TOP + bottom) / 2, y_name, turn=True)

    def svg(self) -> str:
        """The figure."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'width="{WIDTH}" font-family="system-ui, sans-serif" font-size="12" fill="currentColor">'
            f"<title>{escape(self._title)}</title>"
            f'<text x="{LEFT}" y="18" font-weight="600">{escape(self._title)}</text>'
            f"{''.join(self._shapes)}</svg>"
        )


def shade(score: float, *, best: float, worst: float) -> str:
    """The colour of a score: dark where it is good."""
    share = 0.0 if best == worst else (score - best) / (worst - best)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(_BEST, _WORST, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def optimization_history(trials: pd.DataFrame, *, objective: str) -> str:
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


_FAILED = "#8886"


def lr_momentum_scatter(trials: pd.DataFrame, *, objective: str) -> str:
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
