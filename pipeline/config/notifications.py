"""Settings of the notification at the end of a run on Kubeflow."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from knet.base.settings import Section

Outcome = Literal["failed", "with_failures", "not_pushed", "pushed"]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]  # name of an environment variable


class NotificationsConfig(Section):
    """Notification at the end of a run on Kubeflow, to Alertmanager or a webhook."""

    receiver: Literal["alertmanager", "webhook"] = Field(
        description="Alertmanager (API v2, with an alert for each of the outcomes), or a webhook, which gets "
        "one JSON object."
    )
    url_variable: Variable = Field(
        "KNET_NOTIFICATION_URL",
        description="Environment variable with the URL of the receiver, from kubeflow.secrets, or from "
        "kubeflow.env if the URL is no secret.",
    )
    token_variable: Variable | None = Field(
        None,
        description="Environment variable with a bearer token, from kubeflow.secrets. null: no token.",
    )
    outcomes: tuple[Outcome, ...] = Field(
        ("failed", "with_failures"),
        min_length=1,
        description="Outcomes that are sent: failed, with_failures (completed without a candidate), "
        "not_pushed (the gate or ServingValidator did not pass the winner), pushed.",
    )
    web_url: str = Field(
        "",
        pattern=r"^(https?://[^\s]+)?$",
        description="URL of Kubeflow's web interface, for the link to the run. Empty: kubeflow.host.",
    )
    active_hours: float = Field(
        48,
        gt=0,
        allow_inf_nan=False,
        description="Time after which Alertmanager resolves the alert, unless a later run does; more than "
        "the time between two runs.",
        json_schema_extra={"unit": "hours"},
    )
    timeout: float = Field(
        10,
        gt=0,
        allow_inf_nan=False,
        description="Time limit of the request.",
        json_schema_extra={"unit": "seconds"},
    )
