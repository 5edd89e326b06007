"""Notifications to a webhook, and to Debian's Alertmanager."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from free_ports import free_ports

from knet.runs.registry import RunRegistry
from pipeline.config.load import load_config
from pipeline.kubeflow.notifications import (
    RunSummary,
    failed_run,
    notifications_environment,
    notify,
    recorded_run,
)
from pipeline.kubeflow.run_nodes import run_end, run_node

_SECONDS = 60  # for Alertmanager to start and to notify
_SECRETS = (
    "kubeflow.secrets=[{name: alerts, env: {url: KNET_NOTIFICATION_URL, token: KNET_NOTIFICATION_TOKEN}}]"
)
_PUSHED = RunSummary(frozenset({"pushed"}), "pushed", "it is the best", "r1", "/data/reports/r1")


@dataclass
class Webhook:
    """An HTTP server that keeps the requests."""

    url: str
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.headers.append(dict(self.headers))
            state.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            with suppress(BrokenPipeError):  # Alertmanager was stopped
                self.send_response(state.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "13")
                self.end_headers()
                self.wfile.write(b"the\nanswer.\r\n")

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Webhook(f"http://127.0.0.1:{server.server_port}/hook-7")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the environment of a container for `kubeflow.notifications`."""

    def apply(url: str, **fields: Any) -> None:
        fields = {"receiver": "webhook", **fields}
        config = load_config("demo", [_SECRETS, f"kubeflow.notifications={json.dumps(fields)}"])
        for name, value in notifications_environment(config).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KNET_NOTIFICATION_URL", f"{url}\n")  # as files often end
        monkeypatch.setenv("KNET_NOTIFICATION_TOKEN", "hidden-4711")
        monkeypatch.setenv("KFP_RUN_ID", "run-1")

    return apply


def test_notify_posts_to_the_webhook(webhook: Webhook, settings: Callable[..., None]) -> None:
    settings(webhook.url, web_url="https://kubeflow.example.org/", token_variable="KNET_NOTIFICATION_TOKEN")
    notify(lambda: failed_run("Transform: the disk is full"))
    link = "https://kubeflow.example.org/#/runs/details/run-1"
    assert webhook.bodies == [
        {
            "pipeline": "knet-demo",
            "outcomes": ["failed"],
            "summary": "knet-demo: failed",
            "description": "Transform: the disk is full",
            "verdict": "failed",
            "kubeflow_run": "run-1",
            "link": link,
            "text": f"knet-demo: failed\nTransform: the disk is full\nlink: {link}",
        }
    ]
    assert webhook.headers[0]["Authorization"] == "Bearer hidden-4711"


def test_notify_sends_configured_outcomes_only(webhook: Webhook, settings: Callable[..., None]) -> None:
    settings(webhook.url)
    notify(lambda: _PUSHED)
    assert webhook.bodies == []
    settings(webhook.url, outcomes=["pushed"])
    notify(lambda: _PUSHED)
    (body,) = webhook.bodies
    assert (body["run_id"], body["report"], "link" in body) == ("r1", "/data/reports/r1", False)
    assert "Authorization" not in webhook.headers[0]


def test_run_end_posts_the_reason_of_an_early_failure(
    webhook: Webhook, settings: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(webhook.url)
    monkeypatch.setenv("KNET_REGISTRY", str(tmp_path))
    message = {"inputs": {"parameterValues": {"registry": str(tmp_path)}}}
    run_node(run_end, ["--executor_input", json.dumps(message)])
    (body,) = webhook.bodies
    assert body["description"] == "the run failed before it began: see the log of RunStart"


def test_notify_without_settings_does_not_summarize(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notifications_environment(load_config("demo")) == {}
    monkeypatch.delenv("KNET_NOTIFICATIONS", raising=False)
    notify(lambda: pytest.fail("summarized"))


@pytest.mark.parametrize(
    ("status", "problem"), [(404, "HTTP 404 Not Found (the answer.)"), (302, "HTTP 302 Found (the answer.)")]
)
def test_undelivered_notification_is_one_line(
    status: int,
    problem: str,
    webhook: Webhook,
    settings: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    webhook.status = status
    settings(webhook.url, token_variable="KNET_NOTIFICATION_TOKEN")
    notify(lambda: failed_run("why"))
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        f"the notification was not sent: webhook: {problem}; check the URL in KNET_NOTIFICATION_URL and the "
        "token in KNET_NOTIFICATION_TOKEN\n"
    )
    assert len(webhook.bodies) == 1


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:9/hook-7", "webhook: [Errno 111] Connection refused"),
        ("", "KNET_NOTIFICATION_URL is not set in the container"),
        ("ftp://hook-7", "the value of KNET_NOTIFICATION_URL is no URL"),
        ("http://[hook-7", "ValueError"),
        ("http://127.0.0.1:9/hook-7 and", "InvalidURL"),
    ],
)
def test_undelivered_notification_does_not_print_the_url(
    url: str, problem: str, settings: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    settings(url)
    notify(lambda: failed_run("why"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"the notification was not sent: {problem}") and "hook-7" not in line


def test_unreadable_record_is_one_line(
    settings: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings("http://127.0.0.1:9")
    notify(lambda: recorded_run(str(tmp_path), "r1"))
    assert capsys.readouterr().err == "the notification was not sent: KeyError\n"


@pytest.mark.parametrize(
    ("changes", "outcomes", "verdict"),
    [
        ({}, {"pushed"}, "pushed"),
        ({"error": "DataGate: drift"}, {"failed"}, "failed"),
        ({"refusals": ("too few",)}, {"not_pushed"}, "not pushed"),
        ({"failures": {"vgg16": "memory"}}, {"pushed", "with_failures"}, "pushed with failures"),
        ({"failures": {"vgg16": "memory"}, "error": "none"}, {"failed", "with_failures"}, "failed"),
    ],
)
def test_recorded_run_has_the_outcomes_of_the_record(
    changes: dict[str, Any], outcomes: set[str], verdict: str, tmp_path: Path, make_record: Callable[..., Any]
) -> None:
    record = make_record(**changes)
    RunRegistry(tmp_path / "registry").record(record)
    summary = recorded_run(str(tmp_path), record.run_id)
    assert (summary.outcomes, summary.verdict) == (outcomes, verdict)
    assert summary.report == f"{tmp_path}/reports/{record.run_id}"


@pytest.fixture
def alertmanager(webhook: Webhook, debian_program: Callable[..., Path], tmp_path: Path) -> Iterator[str]:
    """URL of an Alertmanager that sends its notifications to the webhook."""
    program = debian_program(
        "prometheus-alertmanager", package="--no-install-recommends prometheus-alertmanager"
    )
    receiver = {"name": "hook", "webhook_configs": [{"url": webhook.url, "send_resolved": True}]}
    route = {"receiver": "hook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    config = tmp_path / "alertmanager.yaml"
    config.write_text(yaml.safe_dump({"receivers": [receiver], "route": route}), "utf-8")
    (port,) = free_ports(1)
    command = [str(program), f"--config.file={config}", f"--storage.path={tmp_path / 'storage'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until(lambda: process.poll() is not None or _answers(f"{url}/-/ready"))
        assert process.poll() is None, (tmp_path / "log").read_text("utf-8")
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {_SECONDS} s"
        time.sleep(0.1)


def _active(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as response:
        return {alert["labels"]["alertname"]: alert for alert in json.load(response)}


def test_alertmanager_notifies_and_a_later_run_resolves(
    alertmanager: str,
    webhook: Webhook,
    settings: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings(alertmanager, receiver="alertmanager", web_url="https://kubeflow.example.org")
    notify(lambda: failed_run("Transform: the disk is full"))
    alert = _active(alertmanager)["KnetRunFailed"]
    assert alert["labels"] == {
        "alertname": "KnetRunFailed",
        "pipeline": "knet-demo",
        "severity": "ticket",
    }
    assert alert["annotations"]["description"] == "Transform: the disk is full"
    assert alert["generatorURL"] == "https://kubeflow.example.org/#/runs/details/run-1"
    assert alert["endsAt"] > alert["startsAt"] and set(_active(alertmanager)) == {"KnetRunFailed"}
    _wait_until(lambda: len(webhook.bodies) == 1)
    assert webhook.bodies[0]["status"] == "firing"

    monkeypatch.setenv("KFP_RUN_ID", "run-2")
    notify(lambda: failed_run("Transform: the disk is still full"))  # renews the alert
    (alert,) = _active(alertmanager).values()
    assert alert["annotations"]["kubeflow_run"] == "run-2"

    notify(lambda: _PUSHED)
    assert _active(alertmanager) == {}
    _wait_until(lambda: webhook.bodies[-1]["status"] == "resolved")
    names = {one["labels"]["alertname"] for body in webhook.bodies for one in body["alerts"]}
    assert names == {"KnetRunFailed"}  # and none of an outcome that never was
    assert capsys.readouterr().err == ""


def test_alertmanager_gets_all_outcomes_of_a_run(alertmanager: str, settings: Callable[..., None]) -> None:
    settings(alertmanager, receiver="alertmanager", outcomes=["not_pushed", "with_failures", "pushed"])
    outcomes = frozenset({"not_pushed", "with_failures"})
    notify(lambda: RunSummary(outcomes, "not pushed with failures", "too few patients"))  # type: ignore[arg-type]
    alerts = _active(alertmanager)
    assert set(alerts) == {"KnetRunNotPushed", "KnetRunWithFailures"}
    assert "generatorURL" not in alerts or alerts["KnetRunNotPushed"]["generatorURL"] == ""
