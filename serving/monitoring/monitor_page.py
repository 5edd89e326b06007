"""The page on what served models were asked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from pipeline import features
from pipeline.report.charts.frame import Axis
from pipeline.report.charts.line_chart import Chart, Line, line_chart
from pipeline.report.environment import environment
from pipeline.write_whole import write_whole
from serving.monitoring.answer_drift import bucket_edges, count
from serving.monitoring.judge_requests import Judgement
from serving.monitoring.monitor import Monitored

_SHARE: Final = Axis("share of images up to here", 0, 1)
_BEFORE, _NOW = 0, 1  # colours
_LISTED = 50  # broken lines


def write_monitor_page(path: Path, monitored: Monitored, *, title: str) -> None:
    """Writes one self-contained page, which loads nothing, whole or not at all.

    Args:
        path: of the page.
        monitored: what is shown.
        title: names the log.
    """
    page = (
        environment("serving.monitoring")
        .get_template("monitor.html")
        .render(
            title=title,
            monitored=monitored,
            versions=[
                (judgement, [*_answer_charts(judgement), *_scalar_charts(judgement)])
                for judgement in monitored.judgements
            ],
            listed=monitored.broken[:_LISTED],
        )
    )
    write_whole(path, page)


def _scalar_charts(judgement: Judgement) -> list[Chart]:
    charts = []
    for name in features.IMAGE_SCALARS:
        sides = (judgement.reference.statistics, judgement.statistics)
        before, now = (_cumulative(_histogram(statistics, name)) for statistics in sides)
        if before and now:
            charts.append(_chart(name, before, now, compared="training images"))
    return charts


def _answer_charts(judgement: Judgement) -> list[Chart]:
    charts = []
    evaluated = judgement.reference.predictions
    if evaluated is None:  # then there are no answers either
        return []
    for answer in judgement.answers:
        edges = bucket_edges(answer.name, evaluated)
        before, now = (
            _cumulative(list(zip(edges, edges[1:], count(frame[answer.name], edges), strict=False)))
            for frame in (evaluated, judgement.frame)
        )
        charts.append(_chart(answer.name, before, now, compared="evaluated images"))
    return charts


def _chart(
    name: str, before: Sequence[tuple[float, float]], now: Sequence[tuple[float, float]], *, compared: str
) -> Chart:
    values = [value for value, _ in (*before, *now)]
    low, high = min(values), max(values)
    return line_chart(
        [Line(compared, before, _BEFORE, dashed=True), Line("served images", now, _NOW)],
        x=Axis(name, low, high if high > low else low + 1),
        y=_SHARE,
        label=f"{name}: share of images up to each value, {compared} and served images",
    )


def _histogram(statistics: Any, name: str) -> list[tuple[float, float, float]]:
    """Low, high and count of TFDV's buckets of equal width; nothing where the feature is not there."""
    for feature in statistics.datasets[0].features:
        if list(feature.path.step) == [name]:
            for histogram in feature.num_stats.histograms:
                if histogram.type == histogram.STANDARD:
                    return [(b.low_value, b.high_value, b.sample_count) for b in histogram.buckets]
    return []


def _cumulative(buckets: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    total = sum(count for _, _, count in buckets)
    if not total:
        return []
    sums = accumulate(count for _, _, count in buckets)
    return [
        (buckets[0][0], 0.0),
        *((high, done / total) for (_, high, _), done in zip(buckets, sums, strict=True)),
    ]
