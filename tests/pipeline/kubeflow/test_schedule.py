"""Schedules: at most one for each pipeline, even if a command dies; and the status of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knet.base.errors import UserError
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.kubeflow.schedule import Scheduled, schedule, status, unschedule
from pipeline.kubeflow.server import connect, submit


@pytest.fixture
def make_schedule(
    client: Any, config: KubeflowConfig, compiled: Callable[..., Path]
) -> Callable[..., Scheduled]:
    def make(*, image: str = "knet:1", stop_runs: bool = False, seed: int = 0, **changes: Any) -> Scheduled:
        return schedule(
            client,
            compiled(image=image),
            config=config.model_copy(update=changes),
            parameters={"seed": seed},
            stop_runs=stop_runs,
        )

    return make


def test_schedule_pins_the_version_without_catchup(
    kubeflow_server: Any, make_schedule: Callable[..., Scheduled]
) -> None:
    made = make_schedule()
    (run,) = kubeflow_server.recurring_runs.values()
    assert made.new and made.replaced == 0 and run.recurring_run_id == made.recurring_run_id
    assert run.display_name == "knet-demo" and run.status == "ENABLED"
    assert run.trigger.cron_schedule.cron == "0 0 2 * * *"
    assert (int(run.max_concurrency), run.no_catchup) == (1, True)
    assert run.pipeline_version_reference.pipeline_id == made.version.pipeline_id
    assert run.pipeline_version_reference.pipeline_version_id == made.version.version_id
    assert run.runtime_config.parameters == {"seed": 0}


def test_schedule_again_changes_nothing(
    kubeflow_server: Any, make_schedule: Callable[..., Scheduled]
) -> None:
    first, again = make_schedule(), make_schedule()
    assert not again.new and again.recurring_run_id == first.recurring_run_id
    assert len(kubeflow_server.recurring_runs) == len(kubeflow_server.versions) == 1
    assert "DELETE" not in " ".join(kubeflow_server.requests)


@pytest.mark.parametrize(
    "change",
    [{"cron": "0 30 3 * * *"}, {"image": "knet:2"}, {"seed": 1}, {"service_account": "runner"}],
)
def test_schedule_replaces_a_changed_schedule(
    kubeflow_server: Any, make_schedule: Callable[..., Scheduled], change: dict[str, Any]
) -> None:
    first, second = make_schedule(), make_schedule(**change)
    assert second.new and second.replaced == 1
    assert set(kubeflow_server.recurring_runs) == {second.recurring_run_id} != {first.recurring_run_id}


def test_schedule_replaces_a_disabled_schedule(
    kubeflow_server: Any, make_schedule: Callable[..., Scheduled]
) -> None:
    first = make_schedule()
    kubeflow_server.recurring_runs[first.recurring_run_id].status = "DISABLED"
    assert make_schedule().replaced == 1
    assert [run.status for run in kubeflow_server.recurring_runs.values()] == ["ENABLED"]


def test_schedule_replaces_all_of_its_name_only(
    kubeflow_server: Any, client: Any, make_schedule: Callable[..., Scheduled]
) -> None:
    first = make_schedule()
    run = kubeflow_server.recurring_runs[first.recurring_run_id]
    for name in ("knet-demo", "somebody-else"):
        client.create_recurring_run(
            experiment_id=run.experiment_id,
            job_name=name,
            cron_expression="0 0 1 * * *",
            pipeline_id=first.version.pipeline_id,
            version_id=first.version.version_id,
        )
    assert len(kubeflow_server.recurring_runs) == 3
    assert make_schedule().replaced == 2
    names = sorted(run.display_name for run in kubeflow_server.recurring_runs.values())
    assert names == ["knet-demo", "somebody-else"]


@pytest.mark.parametrize("exists_before", [False, True])
def test_schedule_interrupted_leaves_at_most_one(
    make_server: Callable[..., Any],
    config: KubeflowConfig,
    compiled: Callable[..., Path],
    exists_before: bool,
) -> None:
    def command(host: str, cron: str, image: str) -> Scheduled:
        changed = config.model_copy(update={"cron": cron})
        with connect(KubeflowConfig(host=host)) as client:
            return schedule(client, compiled(image=image), config=changed, parameters={})

    left = []  # schedules, by the request at which the command died
    for dies_at in range(1, 30):
        kubeflow_server = make_server()
        with kubeflow_server.serving() as host:
            if exists_before:
                command(host, "0 0 2 * * *", "knet:1")
            kubeflow_server.breaks_at = len(kubeflow_server.requests) + dies_at
            try:
                command(host, "0 0 3 * * *", "knet:2")
            except UserError as error:
                assert "the database is gone (500)" in str(error)
            else:
                break
            left.append(len(kubeflow_server.recurring_runs))
            kubeflow_server.breaks_at = None
            command(host, "0 0 3 * * *", "knet:2")
            (run,) = kubeflow_server.recurring_runs.values()
            assert run.trigger.cron_schedule.cron == "0 0 3 * * *"
            assert len(kubeflow_server.versions) == 1 + exists_before
    # It was there until it was deleted, and then the command died before the new one was made.
    assert left == ([1] * (len(left) - 1) + [0] if exists_before else [0] * len(left))
    assert 5 < len(left) < 29


def test_schedule_with_an_active_run_needs_stop_runs(
    kubeflow_server: Any, client: Any, config: KubeflowConfig, make_schedule: Callable[..., Scheduled]
) -> None:
    first = make_schedule()
    kubeflow_server.run_schedule(first.recurring_run_id, "SUCCEEDED")
    run = kubeflow_server.run_schedule(first.recurring_run_id, "RUNNING")
    with pytest.raises(UserError, match=f"{run.run_id}.* is active.*--stop-runs"):
        make_schedule(cron="0 0 3 * * *")
    with pytest.raises(UserError, match="is active"):
        unschedule(client, "knet-demo", config=config)
    assert set(kubeflow_server.recurring_runs) == {first.recurring_run_id} and run.state == "RUNNING"
    assert not make_schedule().new  # nothing to replace
    assert make_schedule(cron="0 0 3 * * *", stop_runs=True).replaced == 1
    assert run.state == "FAILED"


def test_unschedule_deletes_the_schedule_only(
    kubeflow_server: Any, client: Any, config: KubeflowConfig, make_schedule: Callable[..., Scheduled]
) -> None:
    assert unschedule(client, "knet-demo", config=config) == 0  # no experiment yet
    make_schedule()
    assert unschedule(client, "knet-other", config=config) == 0
    assert unschedule(client, "knet-demo", config=config) == 1
    assert not kubeflow_server.recurring_runs and kubeflow_server.versions
    assert unschedule(client, "knet-demo", config=config) == 0
    assert make_schedule().new


@pytest.fixture
def recurring(client: Any, config: KubeflowConfig, compiled: Callable[..., Path]) -> str:
    return schedule(client, compiled(), config=config, parameters={}).recurring_run_id


def test_status_lists_newest_runs_first(
    kubeflow_server: Any, client: Any, config: KubeflowConfig, compiled: Callable[..., Path], recurring: str
) -> None:
    done = kubeflow_server.run_schedule(recurring, "SUCCEEDED")
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
    assert scheduled.version_id in kubeflow_server.versions
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
def test_status_is_good_if_the_last_ended_run_succeeded(
    kubeflow_server: Any, client: Any, config: KubeflowConfig, recurring: str, states: list[str], good: bool
) -> None:
    for state in states:
        kubeflow_server.run_schedule(recurring, state)
    assert status(client, "knet-demo", config=config, last=10).good is good


def test_status_links_to_the_ui_endpoint(
    kubeflow_server: Any, client: Any, config: KubeflowConfig, recurring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeflow_server.run_schedule(recurring, "FAILED")
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example.org/pipeline/")
    (run,) = status(client, "knet-demo", config=config, last=10).runs
    assert run.link.startswith("https://kubeflow.example.org/pipeline/#/runs/details/")


def test_status_without_experiment_is_an_error(client: Any, config: KubeflowConfig) -> None:
    with pytest.raises(UserError, match="no experiment knet-demo"):
        status(client, "knet-demo", config=config, last=10)
