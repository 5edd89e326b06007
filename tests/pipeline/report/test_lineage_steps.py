"""The way from data to a served model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.report.lineage_steps import lineage_steps
from pipeline.run_record import RunRecord

MakeRecord = Callable[..., RunRecord]


def test_every_step_from_the_data_to_the_version_is_there(make_record: MakeRecord) -> None:
    steps = {step.what: step.value for step in lineage_steps(make_record())}
    assert list(steps)[:4] == ["data", "split", "configuration", "run"]
    assert steps["data"] == make_record().data.fingerprint
    assert steps["split"] == make_record().data.split_sha256
    assert (steps["candidate"], steps["code"], steps["commit"]) == ("mobilenet", "8899aabb" * 8, "unknown")
    assert list(steps)[-1] == "served version" and steps["served version"] == "1706702400"


def test_another_setting_is_another_configuration(make_record: MakeRecord) -> None:
    record = make_record()
    other = replace(record, config={**record.config, "seed": 7})
    values = [{s.what: s.value for s in lineage_steps(r)}["configuration"] for r in (record, other)]
    assert values[0] != values[1]


def test_a_failed_run_has_what_it_came_to(make_record: MakeRecord) -> None:
    steps = lineage_steps(make_record(winner=None, candidates={}, pushed_version=None))
    assert [step.what for step in steps] == ["data", "split", "configuration", "run", "served version"]
    assert steps[-1].value == "none"
