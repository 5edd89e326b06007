"""There is one schedule of a pipeline, or none: whatever is asked for, and wherever the command dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import KubeflowConfig
from pipeline.errors import UserError
from pipeline.runners.kubeflow.connect import connect
from pipeline.runners.kubeflow.schedule import Scheduled, schedule, unschedule


@pytest.fixture
def make(client: Any, config: KubeflowConfig, compiled: Callable[..., Path]) -> Callable[..., Scheduled]:
    def make(*, image: str = "knet:1", stop_runs: bool = False, seed: int = 0, **changes: Any) -> Scheduled:
        return schedule(
            client,
            compiled(image=image),
            config=config.model_copy(update=changes),
            parameters={"seed": seed},
            stop_runs=stop_runs,
        )

    return make


def test_a_schedule_is_pinned_catches_nothing_up_and_runs_one_at_a_time(
    server: Any, make: Callable[..., Scheduled]
) -> None:
    made = make()
    (run,) = server.recurring_runs.values()
    assert made.new and made.replaced == 0 and run.recurring_run_id == made.recurring_run_id
    assert run.display_name == "knet-demo" and run.status == "ENABLED"
    assert run.trigger.cron_schedule.cron == "0 0 2 * * *"
    assert (int(run.max_concurrency), run.no_catchup) == (1, True)
    assert run.pipeline_version_reference.pipeline_id == made.version.pipeline_id
    assert run.pipeline_version_reference.pipeline_version_id == made.version.version_id
    assert run.runtime_config.parameters == {"seed": 0}


def test_the_same_again_changes_nothing(server: Any, make: Callable[..., Scheduled]) -> None:
    first, again = make(), make()
    assert not again.new and again.recurring_run_id == first.recurring_run_id
    assert len(server.recurring_runs) == len(server.versions) == 1
    assert "DELETE" not in " ".join(server.requests)


@pytest.mark.parametrize(
    "change",
    [{"cron": "0 30 3 * * *"}, {"image": "knet:2"}, {"seed": 1}, {"service_account": "runner"}],
)
def test_what_is_changed_takes_the_place_of_what_was(
    server: Any, make: Callable[..., Scheduled], change: dict[str, Any]
) -> None:
    first, second = make(), make(**change)
    assert second.new and second.replaced == 1
    assert set(server.recurring_runs) == {second.recurring_run_id} != {first.recurring_run_id}


def test_one_that_somebody_disabled_is_made_anew(server: Any, make: Callable[..., Scheduled]) -> None:
    first = make()
    server.recurring_runs[first.recurring_run_id].status = "DISABLED"
    assert make().replaced == 1
    assert [run.status for run in server.recurring_runs.values()] == ["ENABLED"]


def test_several_of_the_name_become_one_and_those_of_others_stay(
    server: Any, client: Any, make: Callable[..., Scheduled]
) -> None:
    first = make()
    run = server.recurring_runs[first.recurring_run_id]
    for name in ("knet-demo", "somebody-else"):
        client.create_recurring_run(
            experiment_id=run.experiment_id,
            job_name=name,
            cron_expression="0 0 1 * * *",
            pipeline_id=first.version.pipeline_id,
            version_id=first.version.version_id,
        )
    assert len(server.recurring_runs) == 3
    assert make().replaced == 2
    names = sorted(run.display_name for run in server.recurring_runs.values())
    assert names == ["knet-demo", "somebody-else"]


@pytest.mark.parametrize("there_before", [False, True])
def test_wherever_a_command_dies_there_is_at_most_one_and_the_next_one_mends_it(
    make_server: Callable[..., Any],
    config: KubeflowConfig,
    compiled: Callable[..., Path],
    there_before: bool,
) -> None:
    def command(host: str, cron: str, image: str) -> Scheduled:
        changed = config.model_copy(update={"cron": cron})
        with connect(host, namespace=None) as client:
            return schedule(client, compiled(image=image), config=changed, parameters={})

    left = []  # schedules, by the request at which the command died
    for dies_at in range(1, 30):
        server = make_server()
        with server.serving() as host:
            if there_before:
                command(host, "0 0 2 * * *", "knet:1")
            server.breaks_at = len(server.requests) + dies_at
            try:
                command(host, "0 0 3 * * *", "knet:2")
            except UserError as error:
                assert "the database is gone (500)" in str(error)
            else:
                break
            left.append(len(server.recurring_runs))
            server.breaks_at = None
            command(host, "0 0 3 * * *", "knet:2")
            (run,) = server.recurring_runs.values()
            assert run.trigger.cron_schedule.cron == "0 0 3 * * *"
            assert len(server.versions) == 1 + there_before
    # It was there until it was deleted, and then the command died before the new one was made.
    assert left == ([1] * (len(left) - 1) + [0] if there_before else [0] * len(left))
    assert 5 < len(left) < 29


def test_a_schedule_whose_run_is_going_on_is_left_alone_unless_that_may_end(
    server: Any, client: Any, config: KubeflowConfig, make: Callable[..., Scheduled]
) -> None:
    first = make()
    server.run_schedule(first.recurring_run_id, "SUCCEEDED")
    run = server.run_schedule(first.recurring_run_id, "RUNNING")
    with pytest.raises(UserError, match=f"{run.run_id}.* is going on.*--stop-runs"):
        make(cron="0 0 3 * * *")
    with pytest.raises(UserError, match="is going on"):
        unschedule(client, "knet-demo", config=config)
    assert set(server.recurring_runs) == {first.recurring_run_id} and run.state == "RUNNING"
    assert not make().new  # nothing to replace
    assert make(cron="0 0 3 * * *", stop_runs=True).replaced == 1
    assert run.state == "FAILED"


def test_unscheduled_is_unscheduled(
    server: Any, client: Any, config: KubeflowConfig, make: Callable[..., Scheduled]
) -> None:
    assert unschedule(client, "knet-demo", config=config) == 0  # no experiment yet
    make()
    assert unschedule(client, "knet-other", config=config) == 0
    assert unschedule(client, "knet-demo", config=config) == 1
    assert not server.recurring_runs and server.versions
    assert unschedule(client, "knet-demo", config=config) == 0
    assert make().new
