"""Judges request logs, version by version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from rich import box
from rich.table import Table
from tensorflow_metadata.proto.v0 import schema_pb2

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.text import format_metric
from knet.report.charts import Axis, Chart, Line, line_chart
from knet.report.report import environment
from knet.serving.monitoring.analysis import Reference, RequestAnalysis, analyze_requests, bucket_edges, count
from knet.serving.monitoring.read_log import BrokenLine, LoggedRequests

_LISTED: Final = 10  # broken lines


@dataclass(frozen=True)
class Monitored:
    """What came of a log."""

    judgements: tuple[RequestAnalysis, ...]  # the newest version first
    too_few: dict[int, int]  # images by version, of those that were not judged
    broken: tuple[BrokenLine, ...]

    @property
    def drifted(self) -> bool:
        """Whether anything was found of any version."""
        return any(judgement.findings for judgement in self.judgements)

    @property
    def lines(self) -> list[str]:
        """What a table of the versions does not show, in words."""
        findings = [
            f"version {judgement.version}: {finding}"
            for judgement in self.judgements
            for finding in judgement.findings
        ]
        few = [
            f"version {version}: not judged, {count} measured images are too few"
            for version, count in self.too_few.items()
        ]
        broken = [f"broken line: {line.file}:{line.line}: {line.reason}" for line in self.broken[:_LISTED]]
        more = len(self.broken) - len(broken)
        return [*findings, *few, *broken, *([f"and {more} more broken lines"] if more else [])]


def monitor(
    logged: LoggedRequests,
    *,
    reference_of: Callable[[int], Reference],
    schema: schema_pb2.Schema,
    least: int,
    doubted_limit: float,
    earlier: LoggedRequests | None = None,
) -> Monitored:
    """Judges every version with enough images.

    Args:
        logged: the log.
        reference_of: what a version is compared with.
        schema: of ingested images.
        least: measured images of a version, and of the earlier log.
        doubted_limit: the share of images out of distribution that is still well.
        earlier: a log to look for drift from.

    Raises:
        UserError: no version has enough images, nor the earlier log where there is one.
    """
    if earlier and (count := _measured(earlier.frame)) < least:
        raise UserError(f"too few requests in the earlier log: {_counted(count, least)}")
    versions = {int(version): rows for version, rows in logged.frame.groupby("version")}
    too_few = {version: count for version, rows in versions.items() if (count := _measured(rows)) < least}
    if len(too_few) == len(versions):
        counts = "; ".join(
            f"version {version}: {_counted(count, least)}" for version, count in too_few.items()
        )
        raise UserError(f"too few requests to judge: {counts}; wait for more, or lower --least")
    judged = sorted(set(versions) - set(too_few), reverse=True)
    judgements = [
        analyze_requests(
            versions[version],
            reference=reference_of(version),
            schema=schema,
            doubted_limit=doubted_limit,
            earlier=earlier and earlier.frame,
        )
        for version in judged
    ]
    return Monitored(tuple(judgements), too_few, logged.broken)


def _measured(frame: Any) -> int:
    return int(frame["unusable"].isna().sum())


def _counted(count: int, least: int) -> str:
    return f"{count} measured images of at least {least}"


_SHARE: Final = Axis("share of images up to here", 0, 1)
_BEFORE, _NOW = 0, 1  # colours
_PAGE_LISTED = 50  # broken lines


def write_monitor_page(path: Path, monitored: Monitored, *, title: str) -> None:
    """Writes one self-contained page, which loads nothing, whole or not at all.

    Args:
        path: of the page.
        monitored: what is shown.
        title: names the log.
    """
    page = (
        environment("knet.serving.monitoring")
        .get_template("monitor.html")
        .render(
            title=title,
            monitored=monitored,
            versions=[
                (judgement, [*_answer_charts(judgement), *_scalar_charts(judgement)])
                for judgement in monitored.judgements
            ],
            listed=monitored.broken[:_PAGE_LISTED],
        )
    )
    atomic_write(path, page)


def _scalar_charts(judgement: RequestAnalysis) -> list[Chart]:
    charts = []
    for name in schema_names.IMAGE_SCALARS:
        sides = (judgement.reference.statistics, judgement.statistics)
        before, now = (_cumulative(_histogram(statistics, name)) for statistics in sides)
        if before and now:
            charts.append(_chart(name, before, now, compared="training images"))
    return charts


def _answer_charts(judgement: RequestAnalysis) -> list[Chart]:
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


_HEADER = (
    "version",
    "images",
    "patients",
    "from",
    "to (UTC)",
    "doubted",
    "farthest feature",
    "score",
    "distance",
    "findings",
)


def monitor_table(monitored: Monitored) -> Table:
    """A row a version, newest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in _HEADER:
        table.add_column(
            name, justify="left" if name in ("from", "to (UTC)", "farthest feature") else "right"
        )
    for judgement in monitored.judgements:
        farthest = max(judgement.skew, key=lambda distance: distance.value or 0)
        answers = {answer.name: answer.value for answer in judgement.answers}
        times = judgement.frame["time"]
        table.add_row(
            str(judgement.version),
            str(len(judgement.frame)),
            str(judgement.patients) if judgement.patients else "–",
            times.iloc[0].strftime("%Y-%m-%d %H:%M"),
            times.iloc[-1].strftime("%Y-%m-%d %H:%M"),
            f"{judgement.doubted:.1%}",
            f"{farthest.feature} {format_metric(farthest.value)}",
            *(format_metric(answers.get(name)) for name in (schema_names.SCORE, schema_names.DISTANCE)),
            str(len(judgement.findings)),
        )
    return table


def write_metrics(path: Path, monitored: Monitored) -> None:
    """Writes gauges in Prometheus' text format, whole or not at all.

    Args:
        path: whose name must end with `.prom` for the node exporter's textfile collector.
        monitored: what they say.
    """
    registry = CollectorRegistry()
    findings = Gauge(
        "knet_monitor_findings", "What is not as it was at training.", ["version"], registry=registry
    )
    doubted = Gauge(
        "knet_monitor_doubted_share", "Share of images that are doubted.", ["version"], registry=registry
    )
    distance = Gauge(
        "knet_monitor_distance",
        "Jensen-Shannon divergence from training images; of score and distance from evaluated images.",
        ["version", "feature"],
        registry=registry,
    )
    Gauge("knet_monitor_broken_lines", "Lines of the log that were passed over.", registry=registry).set(
        len(monitored.broken)
    )
    Gauge(
        "knet_monitor_last_run_timestamp_seconds", "When the log was last judged.", registry=registry
    ).set_to_current_time()
    for judgement in monitored.judgements:
        findings.labels(judgement.version).set(len(judgement.findings))
        doubted.labels(judgement.version).set(judgement.doubted)
        for measured in judgement.skew:
            if measured.value is not None:
                distance.labels(judgement.version, measured.feature).set(measured.value)
        for answer in judgement.answers:
            distance.labels(judgement.version, answer.name).set(answer.value)
    atomic_write(path, generate_latest(registry).decode())
