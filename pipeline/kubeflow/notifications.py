"""Notification at the end of a run, which `RunEnd` sends to Alertmanager or a webhook.

The compiler passes the settings in the environment of `RunEnd`, since a run that failed early has saved no
configuration. A delivery that fails is one line in the log, and no error: the run has ended and is recorded.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from knet.base.storage import local_copy
from knet.runs.record import FAILED, read_record
from knet.runs.registry import RunRegistry
from pipeline.config.config import Config
from pipeline.config.notifications import NotificationsConfig, Outcome
from pipeline.kubeflow.run_state import RUN_ID_VARIABLE

NOTIFICATIONS_VARIABLE: Final = (
    "KNET_NOTIFICATIONS"  # environment variable of RunEnd: name of the pipeline and settings as JSON
)


@dataclass(frozen=True)
class RunSummary:
    """End of a run.

    Attributes:
        outcomes: all that apply.
        verdict: such as `not pushed`.
        reason: of the verdict, in one line.
        run_id: id of the record. Default: there is none.
        report: location of the report's folder. Default: there is none.
    """

    outcomes: frozenset[Outcome]
    verdict: str
    reason: str
    run_id: str = ""
    report: str = ""


def failed_run(reason: str) -> RunSummary:
    """Return the summary of a failed run that has no record."""
    return RunSummary(frozenset({"failed"}), FAILED, reason)


def recorded_run(location: str, run_id: str) -> RunSummary:
    """Return the summary of a run from its record.

    Args:
        location: folder or URI that holds run registry and reports.
        run_id: id of the record.
    """
    from knet.report.inputs import verdict  # takes seconds to import

    with local_copy(RunRegistry(f"{location}/registry").runs()[run_id]) as file:
        record = read_record(file)
    found = verdict(record)
    outcomes: set[Outcome] = {_OUTCOMES[found.kind]}
    if record.failures:
        outcomes.add("with_failures")
    return RunSummary(frozenset(outcomes), found.word, found.why, run_id, f"{location}/reports/{run_id}")


_OUTCOMES: Mapping[str, Outcome] = {"pushed": "pushed", "not pushed": "not_pushed", FAILED: "failed"}


def notifications_environment(config: Config) -> dict[str, str]:
    """Return the variable that holds the settings for `notify`; nothing without `kubeflow.notifications`."""
    settings = config.kubeflow.notifications
    if settings is None:
        return {}
    settings = settings.model_copy(update={"web_url": settings.web_url or config.kubeflow.host})
    return {NOTIFICATIONS_VARIABLE: json.dumps({"pipeline": config.name, "settings": settings.model_dump()})}


def notify(summarize: Callable[[], RunSummary]) -> None:
    """Send the notification that the environment asks for; print, not raise, any error.

    Args:
        summarize: returns the summary of the run; not called without notifications.
    """
    text = os.environ.get(NOTIFICATIONS_VARIABLE)
    if not text:
        return
    try:
        content = json.loads(text)
        settings = NotificationsConfig.model_validate(content["settings"])
        summary = summarize()
        sent = _SENDERS[settings.receiver](settings, content["pipeline"], summary)
    except Exception as error:
        print(f"the notification was not sent: {_problem(error)}", file=sys.stderr, flush=True)
    else:
        if sent:
            print(f"notification to {settings.receiver}: {summary.verdict}")


# Name and severity of the alert of each outcome; the severities are those of the alerts of `knet monitor`.
ALERTS: Final[Mapping[Outcome, tuple[str, str]]] = {
    "failed": ("KnetRunFailed", "ticket"),
    "with_failures": ("KnetRunWithFailures", "ticket"),
    "not_pushed": ("KnetRunNotPushed", "ticket"),
    "pushed": ("KnetRunPushed", "info"),
}


def _send_alerts(settings: NotificationsConfig, pipeline: str, summary: RunSummary) -> bool:
    """Send an alert for each outcome that applies, and resolve those of the others.

    The labels, by which Alertmanager recognizes an alert, name the pipeline and not the run. So a later run
    renews or resolves the alert.
    """
    now = datetime.now(timezone.utc)
    details = _details(settings, pipeline, summary)
    alerts = []
    for outcome in settings.outcomes:
        name, severity = ALERTS[outcome]
        active = timedelta(hours=settings.active_hours if outcome in summary.outcomes else 0)
        alerts.append(
            {
                "labels": {"alertname": name, "pipeline": pipeline, "severity": severity},
                "annotations": details,
                "startsAt": now.isoformat(),
                "endsAt": (now + active).isoformat(),
                "generatorURL": details.get("link", ""),
            }
        )
    _post(settings, "/api/v2/alerts", alerts)
    return True


def _send_to_webhook(settings: NotificationsConfig, pipeline: str, summary: RunSummary) -> bool:
    """Send the summary; `text` is the message in Slack, Mattermost and others."""
    if not summary.outcomes & set(settings.outcomes):
        return False
    details = _details(settings, pipeline, summary)
    lines = [details["summary"], details["description"]]
    lines += [f"{name}: {details[name]}" for name in ("link", "report") if name in details]
    body = {**details, "pipeline": pipeline, "outcomes": sorted(summary.outcomes), "text": "\n".join(lines)}
    _post(settings, "", body)
    return True


_SENDERS = {"alertmanager": _send_alerts, "webhook": _send_to_webhook}


def _details(settings: NotificationsConfig, pipeline: str, summary: RunSummary) -> dict[str, str]:
    """Return the texts about a run by name, without empty ones."""
    run = os.environ.get(RUN_ID_VARIABLE, "")
    details = {
        "summary": f"{pipeline}: {summary.verdict}",
        "description": summary.reason,
        "verdict": summary.verdict,
        "run_id": summary.run_id,
        "kubeflow_run": run,
        "link": f"{settings.web_url.rstrip('/')}/#/runs/details/{run}" if settings.web_url and run else "",
        "report": summary.report,
    }
    return {name: text for name, text in details.items() if text}


class _DeliveryError(Exception):
    """Reason, without the URL, which may be a secret."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Fails at a redirect, after which urllib would send a GET request without the content."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


def _post(settings: NotificationsConfig, path: str, body: object) -> None:
    url = _variable(settings.url_variable)
    if not url.startswith(("http://", "https://")):
        raise _DeliveryError(f"the value of {settings.url_variable} is no URL (https://HOST/PATH)")
    headers = {"Content-Type": "application/json"}
    if settings.token_variable:
        headers["Authorization"] = f"Bearer {_variable(settings.token_variable)}"
    request = urllib.request.Request(url.rstrip("/") + path, json.dumps(body).encode(), headers)
    try:
        urllib.request.build_opener(_NoRedirect).open(request, timeout=settings.timeout).close()
    except urllib.error.HTTPError as error:
        answer = " ".join(error.read(300).decode("utf-8", errors="replace").split())
        problem = f"HTTP {error.code} {error.reason}{answer and f' ({answer})'}"
    except urllib.error.URLError as error:
        problem = str(error.reason)
    else:
        return
    token = f" and the token in {settings.token_variable}" if settings.token_variable else ""
    raise _DeliveryError(f"{settings.receiver}: {problem}; check the URL in {settings.url_variable}{token}")


def _variable(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise _DeliveryError(f"{name} is not set in the container; check the secret in kubeflow.secrets")
    return value


def _problem(error: Exception) -> str:
    """Return a line about an error; messages of libraries may hold the URL."""
    return str(error) if isinstance(error, _DeliveryError) else type(error).__name__
