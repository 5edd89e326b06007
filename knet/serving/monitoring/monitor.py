"""Monitoring report of a request log: analysis by version, page, table and Prometheus gauges."""

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
from knet.serving.monitoring.analysis import (
    Reference,
    RequestAnalysis,
    analyze_requests,
)
from knet.serving.monitoring.read_log import BrokenLine, LoggedRequests


@dataclass(frozen=True)
class MonitoringReport:
    """Analyses of the versions in a request log."""

    analyses: tuple[RequestAnalysis, ...]  # newest version first
    too_few: dict[int, int]  # measured images by version, of the versions that were not analyzed
    broken: tuple[BrokenLine, ...]

    @property
    def drifted(self) -> bool:
        """Whether any version has findings."""
        return any(analysis.findings for analysis in self.analyses)

    @property
    def lines(self) -> list[str]:
        """Findings, notes, versions that were not analyzed, and the first broken lines."""
        findings = [
            f"version {analysis.version}: {finding}"
            for analysis in self.analyses
            for finding in analysis.findings
        ]
        notes = [
            f"version {analysis.version}: {note}" for analysis in self.analyses for note in analysis.notes
        ]
        few = [
            f"version {version}: not analyzed, {count} measured images are too few"
            for version, count in self.too_few.items()
        ]
        broken = [
            f"broken line: {line.file}:{line.line}: {line.reason}" for line in self.broken[:_PRINTED_LINES]
        ]
        more = len(self.broken) - len(broken)
        return [*findings, *notes, *few, *broken, *([f"and {more} more broken lines"] if more else [])]


_PRINTED_LINES: Final = 10  # broken lines


def analyze_log(
    requests: LoggedRequests,
    *,
    reference_of: Callable[[int], Reference],
    schema: schema_pb2.Schema,
    min_images: int,
    max_ood_share: float,
    baseline: LoggedRequests | None = None,
) -> MonitoringReport:
    """Analyze every version with enough images.

    Args:
        requests: the log.
        reference_of: returns the reference of a version.
        schema: schema of ingested images.
        min_images: measured images that a version, and the baseline log, must have.
        max_ood_share: largest accepted share of images flagged as out of distribution, 0 to 1.
        baseline: log of an earlier period to measure drift from; None measures none.

    Raises:
        UserError: no version, or not the baseline log, has enough images.
    """
    if baseline and (count := _measured(baseline.frame)) < min_images:
        raise UserError(
            f"too few requests in the baseline log: {_counted(count, min_images)}; "
            "name a longer log, or lower --min-images"
        )
    versions = {int(version): rows for version, rows in requests.frame.groupby("version")}
    too_few = {
        version: count for version, rows in versions.items() if (count := _measured(rows)) < min_images
    }
    if len(too_few) == len(versions):
        counts = "; ".join(
            f"version {version}: {_counted(count, min_images)}" for version, count in too_few.items()
        )
        raise UserError(f"too few requests to analyze: {counts}; wait for more, or lower --min-images")
    analyzed = sorted(set(versions) - set(too_few), reverse=True)
    analyses = [
        analyze_requests(
            versions[version],
            reference=reference_of(version),
            schema=schema,
            max_ood_share=max_ood_share,
            baseline=baseline and baseline.frame,
        )
        for version in analyzed
    ]
    return MonitoringReport(tuple(analyses), too_few, requests.broken)


def _measured(frame: Any) -> int:
    return int(frame["unusable"].isna().sum())


def _counted(count: int, min_images: int) -> str:
    return f"{count} measured images of at least {min_images}"


_PAGE_LINES = 50  # broken lines


def write_monitor_page(path: Path, report: MonitoringReport, *, title: str) -> None:
    """Write a self-contained HTML page atomically.

    Args:
        path: file to write.
        report: the report to show.
        title: names of the logs.
    """
    page = (
        environment("knet.serving.monitoring")
        .get_template("monitor.html")
        .render(
            title=title,
            report=report,
            versions=[
                (analysis, [*_output_charts(analysis), *_scalar_charts(analysis)])
                for analysis in report.analyses
            ],
            listed=report.broken[:_PAGE_LINES],
        )
    )
    atomic_write(path, page)


def _scalar_charts(analysis: RequestAnalysis) -> list[Chart]:
    charts = []
    for name in schema_names.IMAGE_SCALARS:
        sides = (analysis.reference.statistics, analysis.statistics)
        reference, served = (_cumulative(_histogram(statistics, name)) for statistics in sides)
        if reference and served:
            charts.append(_chart(name, reference, served, compared="training images"))
    return charts


def _output_charts(analysis: RequestAnalysis) -> list[Chart]:
    charts = []
    for output in analysis.outputs:
        if output.name == schema_names.PREDICTED_LABEL:
            continue  # whose shares the page has in a table
        evaluated, served = (
            _cumulative(list(zip(output.edges, output.edges[1:], counts, strict=False)))
            for counts in (output.evaluated, output.served)
        )
        charts.append(_chart(output.name, evaluated, served, compared="evaluated images"))
    return charts


_SHARE: Final = Axis("cumulative share of images", 0, 1)
_REFERENCE_COLOUR, _SERVED_COLOUR = 0, 1


def _chart(
    name: str,
    reference: Sequence[tuple[float, float]],
    served: Sequence[tuple[float, float]],
    *,
    compared: str,
) -> Chart:
    values = [value for value, _ in (*reference, *served)]
    low, high = min(values), max(values)
    return line_chart(
        [
            Line(compared, reference, _REFERENCE_COLOUR, dashed=True),
            Line("served images", served, _SERVED_COLOUR),
        ],
        x=Axis(name, low, high if high > low else low + 1),
        y=_SHARE,
        label=f"{name}: share of images up to each value, {compared} and served images",
    )


def _histogram(statistics: Any, name: str) -> list[tuple[float, float, float]]:
    """Low value, high value and count of TFDV's equal-width buckets; empty if the feature is missing."""
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
    "out of distribution",
    "farthest feature",
    "score",
    "distance",
    "findings",
)


def versions_table(report: MonitoringReport) -> Table:
    """Table with a row per version, newest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in _HEADER:
        table.add_column(
            name, justify="left" if name in ("from", "to (UTC)", "farthest feature") else "right"
        )
    for analysis in report.analyses:
        farthest = max(analysis.skew, key=lambda distance: distance.value or 0)
        outputs = {
            output.name: "degenerate" if output.degenerate else format_metric(output.value)
            for output in analysis.outputs
        }
        times = analysis.frame["time"]
        table.add_row(
            str(analysis.version),
            str(len(analysis.frame)),
            str(analysis.patients) if analysis.patients else "–",
            times.iloc[0].strftime("%Y-%m-%d %H:%M"),
            times.iloc[-1].strftime("%Y-%m-%d %H:%M"),
            f"{analysis.ood_share:.1%}",
            f"{farthest.feature} {format_metric(farthest.value)}",
            *(outputs.get(name, "–") for name in (schema_names.SCORE, schema_names.DISTANCE)),
            str(len(analysis.findings)),
        )
    return table


def write_metrics(path: Path, report: MonitoringReport) -> None:
    """Write gauges in Prometheus' text format atomically.

    Args:
        path: file to write; its name must end with `.prom` for the node exporter's textfile collector.
        report: the report to export.
    """
    registry = CollectorRegistry()
    findings = Gauge(
        "knet_monitor_findings",
        "Deviations from the training and evaluation data.",
        ["version"],
        registry=registry,
    )
    ood_share = Gauge(
        "knet_monitor_flagged_ood_share",
        "Share of images flagged as out of distribution.",
        ["version"],
        registry=registry,
    )
    distance = Gauge(
        "knet_monitor_distance",
        "Jensen-Shannon divergence from training images; of score and distance from evaluated images.",
        ["version", "feature"],
        registry=registry,
    )
    Gauge("knet_monitor_broken_lines", "Lines of the log that could not be read.", registry=registry).set(
        len(report.broken)
    )
    Gauge(
        "knet_monitor_last_run_timestamp_seconds", "Time of the last analysis of the log.", registry=registry
    ).set_to_current_time()
    for analysis in report.analyses:
        findings.labels(analysis.version).set(len(analysis.findings))
        ood_share.labels(analysis.version).set(analysis.ood_share)
        for measured in analysis.skew:
            if measured.value is not None:
                distance.labels(analysis.version, measured.feature).set(measured.value)
        for output in analysis.outputs:
            distance.labels(analysis.version, output.name).set(output.value)
    atomic_write(path, generate_latest(registry).decode())
