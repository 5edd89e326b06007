"""Fake server of Kubeflow Pipelines, for the real kfp client over HTTP.

Bodies are parsed by the models of kfp-server-api, so unknown fields are errors here too. The rules are those
of the backend's sources (backend/src/apiserver).
"""

from __future__ import annotations

import email
import email.policy
import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
import yaml
from kfp_server_api import models

_API = "/apis/v2beta1"
_START_TIME = datetime(2024, 1, 1, tzinfo=timezone.utc)


class RefusalError(Exception):
    """Error response of the backend."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class FakeKubeflow:
    """State of the server, by id. Tests read it, and change the state of runs."""

    def __init__(
        self, *, token: str | None = None, cookies: str | None = None, multi_user: bool = False
    ) -> None:
        self.experiments: dict[str, Any] = {}
        self.pipelines: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.specs: dict[str, dict[str, Any]] = {}  # by version
        self.recurring_runs: dict[str, Any] = {}
        self.runs: dict[str, Any] = {}
        self.requests: list[str] = []
        self.breaks_at: int | None = None  # number of the first request that fails
        self.pages = 100  # largest page of a list
        self.cookies = cookies  # of a session, without which a gateway answers with its login page
        self._token = token
        self._multi_user = multi_user
        self._clock = _START_TIME

    @contextmanager
    def serving(self, *, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
        """Serve on a local port and yield the URL; over TLS with the files of a certificate and its key."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, token: str | None) -> Any:
        """Return the model that a request is answered with, or None.

        Raises:
            RefusalError: the backend would refuse the request.
        """
        self.requests.append(f"{method} {path}")
        if self._token and token != f"Bearer {self._token}":
            raise RefusalError(401, "the request does not have valid authentication credentials")
        if self.breaks_at is not None and len(self.requests) >= self.breaks_at:
            raise RefusalError(500, "the database is gone")
        for (allowed, pattern), handle in self._routes().items():
            match = re.fullmatch(pattern, path)
            if allowed == method and match:
                return handle(*match.groups(), query=query, body=body)
        raise RefusalError(404, f"no such method: {method} {path}")

    def tick(self) -> datetime:
        """Advance the server's time by a minute and return it."""
        self._clock += timedelta(minutes=1)
        return self._clock

    def run_schedule(self, recurring_run_id: str, state: str) -> Any:
        """Start a run of a recurring run, as the controller does at its time."""
        recurring = self.recurring_runs[recurring_run_id]
        run = models.V2beta1Run(
            experiment_id=recurring.experiment_id,
            display_name=f"Run of {recurring.display_name}",
            pipeline_version_reference=recurring.pipeline_version_reference,
            runtime_config=recurring.runtime_config,
            recurring_run_id=recurring_run_id,
        )
        return self._new_run(run, state)

    def _routes(self) -> dict[tuple[str, str], Callable[..., Any]]:
        return {
            ("GET", "/healthz"): self._health,
            ("GET", "/experiments"): self._list(self.experiments, models.V2beta1ListExperimentsResponse),
            ("POST", "/experiments"): self._create_experiment,
            ("GET", "/pipelines"): self._list(self.pipelines, models.V2beta1ListPipelinesResponse),
            ("POST", "/pipelines/upload"): self._upload_pipeline,
            ("POST", "/pipelines/upload_version"): self._upload_version,
            ("GET", "/pipelines/([^/]+)/versions"): self._list_versions,
            ("GET", "/recurringruns"): self._list(
                self.recurring_runs, models.V2beta1ListRecurringRunsResponse
            ),
            ("POST", "/recurringruns"): self._create_recurring_run,
            ("DELETE", "/recurringruns/([^/]+)"): self._delete_recurring_run,
            ("GET", "/runs"): self._list(self.runs, models.V2beta1ListRunsResponse),
            ("POST", "/runs"): self._create_run,
        }

    def _health(self, **_: Any) -> Any:
        return models.V2beta1GetHealthzResponse(multi_user=self._multi_user)

    def _list(self, things: dict[str, Any], response: type[Any]) -> Callable[..., Any]:
        (field,) = set(response.openapi_types) - {"total_size", "next_page_token"}

        def handle(query: dict[str, str], **_: Any) -> Any:
            if query.get("experiment_id") and query["experiment_id"] not in self.experiments:
                raise RefusalError(404, f"Experiment {query['experiment_id']} not found")
            wanted = [
                thing
                for thing in things.values()
                if all(
                    getattr(thing, name) == query[name]
                    for name in ("experiment_id", "namespace")
                    if query.get(name)
                )
                and all(
                    getattr(thing, predicate["key"]) == predicate["stringValue"]
                    for predicate in json.loads(query.get("filter") or "{}").get("predicates", ())
                )
            ]
            if sorting := query.get("sort_by"):
                name, order = (*sorting.split(" "), "")[:2]
                wanted.sort(key=lambda thing: getattr(thing, name), reverse=order == "desc")
            return self._page(wanted, field, response, query)

        return handle

    def _list_versions(self, pipeline_id: str, query: dict[str, str], **_: Any) -> Any:
        if pipeline_id not in self.pipelines:
            raise RefusalError(404, f"Pipeline {pipeline_id} not found")
        wanted = [version for version in self.versions.values() if version.pipeline_id == pipeline_id]
        return self._page(wanted, "pipeline_versions", models.V2beta1ListPipelineVersionsResponse, query)

    def _page(self, wanted: list[Any], field: str, response: type[Any], query: dict[str, str]) -> Any:
        start = int(query.get("page_token") or 0)
        end = start + min(self.pages, int(query.get("page_size") or 20))
        # The backend omits empty fields.
        more = {"next_page_token": str(end)} if end < len(wanted) else {}
        return response(total_size=len(wanted), **{field: wanted[start:end] or None}, **more)

    def _create_experiment(self, body: Any, **_: Any) -> Any:
        experiment = _read(body, "V2beta1Experiment")
        if any(other.display_name == experiment.display_name for other in self.experiments.values()):
            raise RefusalError(409, f"Experiment {experiment.display_name} already exists")
        experiment.experiment_id, experiment.created_at = str(uuid.uuid4()), self.tick()
        self.experiments[experiment.experiment_id] = experiment
        return experiment

    def _upload_pipeline(self, query: dict[str, str], body: Any, **_: Any) -> Any:
        spec = _spec(body)
        if any(other.display_name == query["name"] for other in self.pipelines.values()):
            raise RefusalError(409, f"Pipeline {query['name']} already exists")
        pipeline = models.V2beta1Pipeline(
            pipeline_id=str(uuid.uuid4()),
            display_name=query["name"],
            description=query.get("description"),
            namespace=query.get("namespace"),
            created_at=self.tick(),
        )
        self.pipelines[pipeline.pipeline_id] = pipeline
        # The first version has the name and the description of the pipeline.
        self._new_version(pipeline.pipeline_id, query["name"], query.get("description"), spec)
        return pipeline

    def _upload_version(self, query: dict[str, str], body: Any, **_: Any) -> Any:
        pipeline_id, name = query.get("pipelineid"), query["name"]
        if pipeline_id not in self.pipelines:
            raise RefusalError(400, "Failed to create a pipeline version")
        if any(
            other.pipeline_id == pipeline_id and other.display_name == name
            for other in self.versions.values()
        ):
            raise RefusalError(409, "Failed to create a pipeline version")
        return self._new_version(pipeline_id, name, query.get("description"), _spec(body))

    def _new_version(self, pipeline_id: str, name: str, description: str | None, spec: dict[str, Any]) -> Any:
        version = models.V2beta1PipelineVersion(
            pipeline_id=pipeline_id,
            pipeline_version_id=str(uuid.uuid4()),
            display_name=name,
            description=description,
            created_at=self.tick(),
        )
        self.versions[version.pipeline_version_id] = version
        self.specs[version.pipeline_version_id] = spec
        return version

    def _create_recurring_run(self, body: Any, **_: Any) -> Any:
        run = _read(body, "V2beta1RecurringRun")
        self._check_pinned(run)
        if not run.display_name:
            raise RefusalError(400, "Recurring run name is empty")
        if not 1 <= int(run.max_concurrency or 0) <= 10:
            raise RefusalError(400, "The max concurrency of the job is out of range. Support 1-10.")
        # The backend accepts five fields too, but reads the first as the second: an error here.
        if len(run.trigger.cron_schedule.cron.split()) != 6:
            raise RefusalError(400, "Schedule cron is not a supported format")
        run.recurring_run_id, run.created_at = str(uuid.uuid4()), self.tick()
        run.status = "ENABLED" if run.mode == "ENABLE" else "DISABLED"
        run.mode = None  # the backend does not return it
        self.recurring_runs[run.recurring_run_id] = run
        return run

    def _delete_recurring_run(self, recurring_run_id: str, **_: Any) -> None:
        if recurring_run_id not in self.recurring_runs:
            raise RefusalError(404, f"Recurring run {recurring_run_id} not found")
        del self.recurring_runs[recurring_run_id]
        # Kubernetes deletes its workflows with it.
        for run in self.runs.values():
            if run.recurring_run_id == recurring_run_id and run.state == "RUNNING":
                run.state = "FAILED"

    def _create_run(self, body: Any, **_: Any) -> Any:
        run = _read(body, "V2beta1Run")
        self._check_pinned(run)
        return self._new_run(run, "PENDING")

    def _new_run(self, run: Any, state: str) -> Any:
        run.run_id, run.created_at, run.state = str(uuid.uuid4()), self.tick(), state
        run.finished_at = (
            self.tick() if state in {"SUCCEEDED", "FAILED"} else datetime.fromtimestamp(0, timezone.utc)
        )
        self.runs[run.run_id] = run
        return run

    def _check_pinned(self, thing: Any) -> None:
        """Refuse versions of other pipelines, and unknown or missing parameters."""
        if thing.experiment_id not in self.experiments:
            raise RefusalError(404, f"Experiment {thing.experiment_id} not found")
        reference = thing.pipeline_version_reference
        version = self.versions.get(reference.pipeline_version_id) if reference else None
        if version is None or version.pipeline_id != reference.pipeline_id:
            raise RefusalError(404, "PipelineVersion not found")
        declared = self.specs[version.pipeline_version_id]["root"]["inputDefinitions"]["parameters"]
        given = thing.runtime_config.parameters or {}
        for name in given:
            if name not in declared:
                raise RefusalError(400, f"parameter {name} is not an input of the pipeline")
        for name, definition in declared.items():
            if name not in given and "defaultValue" not in definition:
                raise RefusalError(400, f"input parameter {name} requires type or default value")


def _read(body: Any, name: str) -> Any:
    """Parse a body as a model of the API, refusing unknown fields."""
    unknown = set(body) - set(getattr(models, name).attribute_map.values())
    if unknown:
        raise RefusalError(400, f"unknown field {sorted(unknown)[0]} in {name}")

    class Response:
        data = json.dumps(body)

    return kfp_server_api.ApiClient().deserialize(Response, name)


def _spec(body: Any) -> dict[str, Any]:
    documents = list(yaml.safe_load_all(body))
    if not documents or documents[0].get("schemaVersion") != "2.1.0":
        raise RefusalError(400, "unexpected pipeline schema version")
    spec: dict[str, Any] = documents[0]
    return spec


def _handler(fake: FakeKubeflow) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            if fake.cookies not in (None, self.headers.get("cookie")):
                self._send(200, "text/html", b"<html><form action='/dex/auth/local'></form></html>")
                return
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            try:
                made = fake.answer(
                    self.command,
                    url.path.removeprefix(_API),
                    query,
                    self._body(),
                    self.headers.get("authorization"),
                )
                status, answer = 200, kfp_server_api.ApiClient().sanitize_for_serialization(made) or {}
            except RefusalError as refusal:
                status, answer = refusal.status, {"error": str(refusal), "code": 3, "message": str(refusal)}
            self._send(status, "application/json", json.dumps(answer).encode())

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815

        def _send(self, status: int, kind: str, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> Any:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = self.headers.get("Content-Type") or ""
            if kind.startswith("multipart/"):
                head = f"Content-Type: {kind}\n\n".encode()
                message = email.message_from_bytes(head + data, policy=email.policy.HTTP)
                (part,) = message.iter_parts()
                content = part.get_payload(decode=True)
                assert isinstance(content, bytes)
                return content.decode("utf-8")
            return json.loads(data) if data else None

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
