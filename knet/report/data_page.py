"""HTML page on a run's data: anomalies, drift and the statistics in Facets."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from importlib import resources

from tensorflow_metadata.proto.v0 import statistics_pb2

from knet.data.validation import ValidationReport
from knet.report.report import environment

# The element <facets-overview>, bundled by scripts/bundle_facets.py: TFDV's page loads it from the network.
_FACETS = "facets.html.gz"


def render_data_page(
    *,
    title: str,
    synthetic: bool,
    leak: str | None = None,
    report: ValidationReport,
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList],
    link: str = "",
) -> str:
    """Return a self-contained page, which loads nothing.

    Args:
        title: Title, which names the run.
        synthetic: Whether the images are the synthetic samples, which the page then states.
        leak: Warning that patients leak into test; None: they do not.
        report: Anomalies and drift.
        statistics: Statistics by name, which Facets shows side by side.
        link: File name of the run's report. Empty: the page has no link to it.
    """
    bundle = (resources.files("knet.report") / "templates" / _FACETS).read_bytes()
    return (
        environment()
        .get_template("data_page.html")
        .render(
            title=title,
            synthetic=synthetic,
            leak=leak,
            report=report,
            proto=base64.b64encode(_side_by_side(statistics).SerializeToString()).decode("ascii"),
            facets=gzip.decompress(bundle).decode("utf-8"),
            link=link,
        )
    )


def _side_by_side(
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList],
) -> statistics_pb2.DatasetFeatureStatisticsList:
    together = statistics_pb2.DatasetFeatureStatisticsList()
    for name, of_set in statistics.items():
        for dataset in of_set.datasets:
            if dataset.num_examples:
                together.datasets.add().CopyFrom(dataset)
                together.datasets[-1].name = name
    return together
