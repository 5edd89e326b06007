"""The page on the data of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo

from pipeline.features import SPLITS
from pipeline.registry import KeptStatistics
from pipeline.run_record import RunRecord
from pipeline.runners.data_page import write_data_page
from pipeline.runners.execution import Execution, OutputArtifact

SCHEMA = """
feature { name: "label" type: INT int_domain { min: 0 max: 1 is_categorical: true } }
feature { name: "image/eosin" type: FLOAT drift_comparator { jensen_shannon_divergence { threshold: 0.2 } } }
"""


@pytest.fixture
def executions(tmp_path: Path) -> dict[str, Execution]:
    """Of the nodes before a failing DataGate: there is an anomaly, and the test split lacks a class."""
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text(SCHEMA, encoding="utf-8")
    options = tfdv.StatsOptions(schema=tfdv.load_schema_text(str(tmp_path / "schema" / "schema.pbtxt")))
    anomalies = Anomalies(anomaly_info={"slide": AnomalyInfo(short_description="Unexpected")})
    for split in SPLITS:
        frame = pd.DataFrame({"label": [0, int(split != "test")], "image/eosin": [0.1, 0.2]})
        statistics = tfdv.generate_statistics_from_dataframe(frame, options)
        for folder, name, content in (
            ("statistics", "FeatureStats.pb", statistics),
            ("anomalies", "SchemaDiff.pb", anomalies),
        ):
            file = tmp_path / folder / f"Split-{split}" / name
            file.parent.mkdir(parents=True)
            file.write_bytes(content.SerializeToString())

    def execution(output: str) -> Execution:
        return Execution(1, cached=False, outputs={output: OutputArtifact(1, tmp_path / output, {})})

    return {
        "ImportSchemaGen": execution("schema"),
        "StatisticsGen": execution("statistics"),
        "ExampleValidator": execution("anomalies"),
    }


def test_the_page_of_a_failed_run_shows_all_that_the_gate_found(
    executions: dict[str, Execution], make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    page = tmp_path / "reports" / "data.html"
    write_data_page(page, executions, record=make_record(), classes=("a", "b"), previous=None)
    text = page.read_text("utf-8")
    assert text.count("<td>slide</td>") == len(SPLITS)
    assert "no example is b (label 1)" in text
    assert "Not measured" in text


def test_the_previous_run_is_compared_and_shown_beside(
    executions: dict[str, Execution], make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "statistics", tmp_path / "kept")
    previous = KeptStatistics(folder=tmp_path / "kept", digest="0", run_id="20240130-120000", schema=tmp_path)
    page = tmp_path / "data.html"
    write_data_page(page, executions, record=make_record(), classes=("a", "b"), previous=previous)
    text = page.read_text("utf-8")
    assert '<td>image/eosin</td>\n<td class="figure">0.000</td>' in text
    assert "Not measured" not in text
