"""`knet kubeflow` against a fake server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from knet.base.errors import UserError
from pipeline.commands.main import cli
from pipeline.kubeflow.server import ENDPOINT_VARIABLE


@pytest.fixture
def knet(host: str) -> Callable[..., Result]:
    """Return a function that runs `knet kubeflow`."""

    def run(command: str, *arguments: object) -> Result:
        return _invoke(command, *arguments, "--host", host)

    return run


def _invoke(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(cli, ["kubeflow", command, *map(str, arguments)], catch_exceptions=False)


def test_schedule_and_unschedule(
    kubeflow_server: Any, knet: Callable[..., Result], compiled: Callable[..., Path]
) -> None:
    file = compiled()
    first = knet("schedule", file, "--cron", "0 0 2 * * *", "--param", "data_source=/data/new")
    assert first.exit_code == 0
    assert "version knet-demo (new)" in first.output and "scheduled: knet-demo" in first.output
    again = knet("schedule", file, "--set", "kubeflow.cron=0 0 2 * * *", "--param", "data_source=/data/new")
    assert "(known already)" in again.output and "scheduled already" in again.output
    five = knet("schedule", file, "--cron", "0 2 * * *", "--param", "data_source=/data/new")
    assert "scheduled already" in five.output and "0 0 2 * * * UTC" in five.output
    assert "replacing 1" in knet("schedule", file, "--cron", "* * * * * *").output
    (recurring,) = kubeflow_server.recurring_runs.values()
    assert recurring.trigger.cron_schedule.cron == "* * * * * *"
    assert knet("unschedule").output == "knet-demo: unscheduled\n"
    assert knet("unschedule", "--pipeline", "knet-demo").output == "knet-demo: no schedule\n"


@pytest.mark.parametrize("command", ["submit", "schedule", "status", "unschedule"])
def test_server_command_without_host_option(
    host: str, monkeypatch: pytest.MonkeyPatch, compiled: Callable[..., Path], command: str
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = [compiled()] if command in {"submit", "schedule"} else []
    cron = ["--cron", "0 0 2 * * *"] if command == "schedule" else []
    _invoke("submit", compiled(), "--host", host)
    with pytest.raises(UserError, match=r"kubeflow\.host is not set"):
        _invoke(command, *file, *cron)
    assert _invoke(command, *file, *cron, "--set", f"kubeflow.host={host}").exit_code == 0
    monkeypatch.setenv(ENDPOINT_VARIABLE, host)
    assert _invoke(command, *file, *cron).exit_code == 0


def test_host_option_precedes_the_configuration(host: str, compiled: Callable[..., Path]) -> None:
    configured = ("--set", "kubeflow.host=http://127.0.0.1:1")
    assert _invoke("submit", compiled(), *configured, "--host", host).exit_code == 0


def test_status_links_to_the_host_of_the_variable(
    host: str, monkeypatch: pytest.MonkeyPatch, compiled: Callable[..., Path]
) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLE, host)
    _invoke("submit", compiled())
    (run,) = json.loads(_invoke("status", "--json").output)["runs"]
    assert run["link"].startswith(f"{host}/#/runs/details/")


def test_submit_and_status(
    kubeflow_server: Any, knet: Callable[..., Result], compiled: Callable[..., Path]
) -> None:
    submitted = knet("submit", compiled(), "--experiment", "trial", "--param", "seed=3")
    (run,) = kubeflow_server.runs.values()
    assert submitted.exit_code == 0 and run.run_id in submitted.output
    running = knet("status", "--experiment", "trial")
    assert running.exit_code == 0
    assert "schedule: none" in running.output and "pending" in running.output
    run.state, run.error = "FAILED", None
    assert knet("status", "--experiment", "trial").exit_code == 1
    as_json = knet("status", "--experiment", "trial", "--json")
    found = json.loads(as_json.output)
    assert as_json.exit_code == 1 and found["good"] is False
    assert found["runs"][0]["state"] == "FAILED" and found["runs"][0]["started"].startswith("2024-01-01T")


def test_submit_passes_note_and_tags_to_the_run(
    kubeflow_server: Any, knet: Callable[..., Result], compiled: Callable[..., Path]
) -> None:
    remarks = ["--note", "new stain: [a]", "--tag", "night", "--tag", "a, b"]
    assert knet("submit", compiled(), "--param", "seed=3", *remarks).exit_code == 0
    (run,) = kubeflow_server.runs.values()
    assert run.runtime_config.parameters == {"seed": 3, "note": "new stain: [a]", "tags": ["night", "a, b"]}


def test_submit_without_cache_sets_the_parameter_of_the_run(
    kubeflow_server: Any, knet: Callable[..., Result], compiled: Callable[..., Path]
) -> None:
    assert knet("submit", compiled(), "--no-cache").exit_code == 0
    (run,) = kubeflow_server.runs.values()
    assert run.runtime_config.parameters == {"cache": False}


def test_submit_with_yes_confirms_the_run(
    kubeflow_server: Any, knet: Callable[..., Result], compiled: Callable[..., Path]
) -> None:
    assert knet("submit", compiled(), "--yes").exit_code == 0
    (run,) = kubeflow_server.runs.values()
    assert run.runtime_config.parameters == {"confirmed": True}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cron", "2 * * *"], "kubeflow.cron: .*has 4 fields"),
        ([], r"kubeflow\.cron is not set: give --cron"),
        (["--cron", "0 0 2 * * *", "--param", "sead=3"], "--param sead: no such parameter"),
        (["--cron", "0 0 2 * * *", "--namespace", "My Team"], "kubeflow.namespace"),
    ],
)
def test_schedule_with_invalid_options_sends_no_request(
    kubeflow_server: Any,
    knet: Callable[..., Result],
    compiled: Callable[..., Path],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message):
        knet("schedule", compiled(), *arguments)
    assert not kubeflow_server.requests


def test_submit_of_a_missing_file_sends_no_request(
    kubeflow_server: Any, knet: Callable[..., Result], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="cannot read"):
        knet("submit", tmp_path / "missing.yaml")
    assert not kubeflow_server.requests


def test_simulate_of_another_file_is_refused(tmp_path: Path, compiled: Callable[..., Path]) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("pipeline: 1", "utf-8")
    for file in (other, compiled()):  # the second lacks RunStart
        with pytest.raises(UserError, match=f"{file} is no compiled pipeline"):
            _invoke("simulate", file)
    with pytest.raises(UserError, match="cannot read"):
        _invoke("simulate", tmp_path / "missing.yaml")
