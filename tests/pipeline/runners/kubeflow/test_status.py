"""What goes on on the cluster is told, and whether it is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import KubeflowConfig
from pipeline.errors import UserError
from pipeline.runners.kubeflow.schedule import schedule
from pipeline.runners.kubeflow.status import status
from pipeline.runners.kubeflow.submit import submit


@pytest.fixture
def recurring(client: Any, config: KubeflowConfig, compiled: Callable[..., Path]) -> str:
    return schedule(client, compiled(), config=config, parameters={}).recurring_run_id


def test_runs_come_newest_first_with_state_and_link(
    server: Any, client: Any, config: KubeflowConfig, compiled: Callable[..., Path], recurring: str
) -> None:
    done = server.run_schedule(recurring, "SUCCEEDED")
    by_hand = submit(client, compiled(), config=config, parameters={})
    found = status(client, "knet-demo", config=config, last=10)
    first, second = found.runs
    assert (first.run_id, first.state, first.scheduled) == (by_hand.run_id, "PENDING", False)
    assert first.ended is None
    assert (second.run_id, second.state, second.scheduled) == (done.run_id, "SUCCEEDED", True)
    assert second.started and second.ended and second.ended > second.started
    assert second.link == f"{config.host}/#/runs/details/{done.run_id}"
    (scheduled,) = found.schedules
    assert (scheduled.cron, scheduled.enabled) == ("0 0 2 * * *", True)
    assert scheduled.version_id in server.versions
    assert len(status(client, "knet-demo", config=config, last=1).runs) == 1


@pytest.mark.parametrize(
    ("states", "good"),
    [
        ([], True),
        (["RUNNING"], True),
        (["FAILED", "SUCCEEDED"], True),
        (["SUCCEEDED", "FAILED"], False),
        (["FAILED", "RUNNING"], False),
        (["CANCELED"], False),
    ],
)
def test_it_is_good_when_the_last_run_that_ended_succeeded(
    server: Any, client: Any, config: KubeflowConfig, recurring: str, states: list[str], good: bool
) -> None:
    for state in states:
        server.run_schedule(recurring, state)
    assert status(client, "knet-demo", config=config, last=10).good is good


def test_links_go_to_the_web_page_where_that_is_elsewhere(
    server: Any, client: Any, config: KubeflowConfig, recurring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.run_schedule(recurring, "FAILED")
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example.org/pipeline/")
    (run,) = status(client, "knet-demo", config=config, last=10).runs
    assert run.link.startswith("https://kubeflow.example.org/pipeline/#/runs/details/")


def test_a_pipeline_that_was_never_submitted_is_told_from_one_without_runs(
    client: Any, config: KubeflowConfig
) -> None:
    with pytest.raises(UserError, match="no experiment knet-demo"):
        status(client, "knet-demo", config=config, last=10)
