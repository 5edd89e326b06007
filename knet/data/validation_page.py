"""HTML page on a run's data: anomalies, drift and the statistics in Facets."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from importlib import resources

import jinja2
from tensorflow_metadata.proto.v0 import statistics_pb2

from knet.data.validation import ANOMALY_COLUMNS, ValidationReport

# The element <facets-overview>, bundled by scripts/bundle_facets.py: TFDV's page loads it from the network.
_FACETS = "facets.html.gz"


def render_validation_page(
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
    package = resources.files("knet.data") / "templates"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((package / "validation.html").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        synthetic=synthetic,
        leak=leak,
        columns=ANOMALY_COLUMNS,
        report=report,
        proto=base64.b64encode(_side_by_side(statistics).SerializeToString()).decode("ascii"),
        facets=gzip.decompress((package / _FACETS).read_bytes()).decode("utf-8"),
        link=link,
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
