"""What Prometheus is told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.monitoring.judge_requests import judge_requests
from serving.monitoring.monitor import Monitored
from serving.monitoring.read_log import BrokenLine
from serving.monitoring.reference import Reference
from serving.monitoring.write_metrics import write_metrics


def test_every_number_of_a_judgement_is_a_gauge(
    training: Any, predictions: Any, schema: Any, answers: Any, tmp_path: Path
) -> None:
    judgement = judge_requests(
        answers(doubted=0.3),
        reference=Reference(training, predictions, "run 1"),
        schema=schema,
        doubted_limit=0.2,
    )
    file = tmp_path / "new" / "knet.prom"
    write_metrics(file, Monitored((judgement,), {}, (BrokenLine(Path("a.jsonl"), 1, "cut off"),)))
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(file.read_text("utf-8"))
        for sample in family.samples
    }
    assert samples["knet_monitor_findings", "7"] == 1
    assert samples["knet_monitor_doubted_share", "7"] == pytest.approx(0.3)
    assert samples["knet_monitor_broken_lines",] == 1
    assert time.time() - samples["knet_monitor_last_run_timestamp_seconds",] < 60
    for distance in judgement.skew:
        assert samples["knet_monitor_distance", distance.feature, "7"] == pytest.approx(distance.value)
    assert [answer.name for answer in judgement.answers] == ["score", "distance"]
    for answer in judgement.answers:
        assert samples["knet_monitor_distance", answer.name, "7"] == pytest.approx(answer.value)
