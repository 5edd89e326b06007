"""Connecting to the server, uploading, and submitting runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import write_certificate
from kfp.client import client as kfp_client

from knet.base.errors import UserError
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.kubeflow.server import (
    COOKIES_VARIABLE,
    ENDPOINT_VARIABLE,
    IN_CLUSTER_URL,
    TOKEN_VARIABLE,
    connect,
    list_all,
    server_url,
    submit,
    upload,
)


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables that name a server."""
    for name in (ENDPOINT_VARIABLE, "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_server")
def test_server_url_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLE, "http://variable:8888")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert server_url("http://configured:8888") == "http://configured:8888"


@pytest.mark.usefixtures("no_server")
def test_server_url_from_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLE, "http://variable:8888")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert server_url("") == "http://variable:8888"


@pytest.mark.usefixtures("no_server")
def test_server_url_inside_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert server_url("") == IN_CLUSTER_URL


@pytest.mark.usefixtures("no_server")
def test_server_url_missing() -> None:
    with pytest.raises(
        UserError, match=rf"kubeflow\.host is not set: .*--host.*{ENDPOINT_VARIABLE}"
    ) as caught:
        server_url("")
    assert "\n" not in str(caught.value)


def test_server_url_names_are_those_of_kfp() -> None:
    address = kfp_client.Client._IN_CLUSTER_DNS_NAME.format("kubeflow")
    assert (kfp_client.KF_PIPELINES_ENDPOINT_ENV, f"http://{address}") == (ENDPOINT_VARIABLE, IN_CLUSTER_URL)


def _list(host: str) -> None:
    with connect(KubeflowConfig(host=host)) as client:
        client.list_pipelines()


def test_connect_sends_the_token_of_the_variable(
    make_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_server(token="secret").serving() as host:
        with pytest.raises(
            UserError, match=rf"authentication credentials \(401\); give a token in {TOKEN_VARIABLE}"
        ):
            _list(host)
        monkeypatch.setenv(TOKEN_VARIABLE, "secret")
        _list(host)


def test_connect_rereads_the_token_of_the_service_account(
    make_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    with make_server(token="secret").serving() as host:
        with pytest.raises(UserError, match="401"):
            _list(host)
        file.write_text("secret")
        _list(host)


def test_connect_without_server_fails_in_one_line(make_server: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"cannot reach .* at http://127.0.0.1:1: .*refused") as caught:
        _list("http://127.0.0.1:1")
    assert "\n" not in str(caught.value)


def test_connect_raises_the_message_of_the_server(host: str) -> None:
    with (
        pytest.raises(UserError, match=r"Recurring run x not found \(404\)"),
        connect(KubeflowConfig(host=host)) as client,
    ):
        client.delete_recurring_run("x")


def test_connect_to_a_multi_user_server_requires_a_namespace(
    make_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfp.client.client.Client._NAMESPACE_PATH", "/nonexistent/namespace")
    with make_server(multi_user=True).serving() as host:
        with pytest.raises(
            UserError, match=r"kubeflow\.namespace is not set, .* is multi-user: .*--namespace"
        ):
            _list(host)
        with connect(KubeflowConfig(host=host, namespace="team")) as client:
            assert client.get_user_namespace() == "team"


def test_connect_refuses_a_login_page_and_sends_cookies(
    make_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_server(cookies="oauth2_proxy_kubeflow=secret").serving() as host:
        with pytest.raises(UserError, match=rf"{host} does not answer as Kubeflow.*{COOKIES_VARIABLE}"):
            _list(host)
        monkeypatch.setenv(COOKIES_VARIABLE, "oauth2_proxy_kubeflow=secret")
        _list(host)


def test_connect_trusts_the_authority_of_ca_file(
    make_server: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificate(tmp_path)
    ca_file = tmp_path / "cert.pem"
    with make_server().serving(certificate=(ca_file, tmp_path / "key.pem")) as host:
        with pytest.raises(UserError, match=r"CERTIFICATE_VERIFY_FAILED.*kubeflow\.ca_file"):
            _list(host)
        with connect(KubeflowConfig(host=host, ca_file=ca_file)) as client:
            assert client.list_pipelines().pipelines is None
        with (
            pytest.raises(UserError, match=r"kubeflow\.ca_file: no file .*missing\.pem"),
            connect(KubeflowConfig(host=host, ca_file=tmp_path / "missing.pem")),
        ):
            pass


def test_connect_prints_nothing(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(KubeflowConfig(host=host)) as client:
        client.create_experiment("x")
    assert capsys.readouterr().out == ""


def test_upload_creates_pipeline_and_first_version(
    kubeflow_server: Any, client: Any, compiled: Callable[..., Path]
) -> None:
    version = upload(client, compiled(), namespace=None)
    assert version.new and version.pipeline == "knet-demo"
    assert set(kubeflow_server.pipelines) == {version.pipeline_id}
    assert set(kubeflow_server.versions) == {version.version_id}
    assert kubeflow_server.specs[version.version_id]["pipelineInfo"]["name"] == "knet-demo"


def test_upload_skips_a_known_file(kubeflow_server: Any, client: Any, compiled: Callable[..., Path]) -> None:
    first = upload(client, compiled(), namespace=None)
    again = upload(client, compiled(), namespace=None)
    assert not again.new and again.version_id == first.version_id
    assert len(kubeflow_server.versions) == 1


def test_upload_of_a_changed_file_creates_a_version(
    kubeflow_server: Any, client: Any, compiled: Callable[..., Path]
) -> None:
    first = upload(client, compiled(), namespace=None)
    second = upload(client, compiled(image="knet:2"), namespace=None)
    assert second.new and second.pipeline_id == first.pipeline_id
    assert second.version.startswith("knet-demo-") and len(second.version) == len("knet-demo-") + 12
    assert upload(client, compiled(image="knet:2"), namespace=None).version_id == second.version_id
    assert upload(client, compiled(), namespace=None).version_id == first.version_id
    assert len(kubeflow_server.versions) == 2


def test_upload_finds_versions_beyond_the_first_page(
    kubeflow_server: Any, client: Any, compiled: Callable[..., Path]
) -> None:
    kubeflow_server.pages = 1
    made = [upload(client, compiled(image=f"knet:{number}"), namespace=None) for number in range(3)]
    again = [upload(client, compiled(image=f"knet:{number}"), namespace=None) for number in range(3)]
    assert [version.version_id for version in again] == [version.version_id for version in made]
    assert not any(version.new for version in again)
    listed = list_all(client.list_pipeline_versions, "pipeline_versions", pipeline_id=made[0].pipeline_id)
    assert len(list(listed)) == 3


def test_upload_of_another_name_creates_a_pipeline(
    kubeflow_server: Any, client: Any, compiled: Callable[..., Path]
) -> None:
    first = upload(client, compiled(), namespace=None)
    other = upload(client, compiled(name="knet-paper"), namespace=None)
    assert other.new and other.pipeline_id != first.pipeline_id


def test_upload_accepts_a_concurrent_upload(
    kubeflow_server: Any, client: Any, compiled: Callable[..., Path], monkeypatch: Any
) -> None:
    upload(client, compiled(), namespace=None)
    file = compiled(image="knet:2")
    list_versions = client.list_pipeline_versions

    def list_before_other_client(**arguments: Any) -> Any:
        found = list_versions(**arguments)
        monkeypatch.setattr(client, "list_pipeline_versions", list_versions)
        upload(client, file, namespace=None)  # the other client
        return found

    monkeypatch.setattr(client, "list_pipeline_versions", list_before_other_client)
    assert upload(client, file, namespace=None).pipeline == "knet-demo"
    assert len(kubeflow_server.versions) == 2


def test_submit_pins_the_version_and_sets_parameters(
    kubeflow_server: Any, client: Any, config: KubeflowConfig, compiled: Callable[..., Path]
) -> None:
    made = submit(client, compiled(), config=config, parameters={"data_source": "/data/new", "seed": 3})
    run = kubeflow_server.runs[made.run_id]
    assert run.pipeline_version_reference.pipeline_version_id == made.version.version_id
    assert run.runtime_config.parameters == {"data_source": "/data/new", "seed": 3}
    assert run.runtime_config.pipeline_root == "minio://mlpipeline/knet"
    assert kubeflow_server.experiments[run.experiment_id].display_name == "knet-demo"


def test_submit_twice_reuses_version_and_experiment(
    kubeflow_server: Any, client: Any, config: KubeflowConfig, compiled: Callable[..., Path]
) -> None:
    config = config.model_copy(update={"experiment": "nightly", "service_account": "runner"})
    for _ in range(2):
        submit(client, compiled(), config=config, parameters={})
    assert (
        len(kubeflow_server.runs) == 2
        and len(kubeflow_server.versions) == len(kubeflow_server.experiments) == 1
    )
    assert {run.service_account for run in kubeflow_server.runs.values()} == {"runner"}
    assert [item.display_name for item in kubeflow_server.experiments.values()] == ["nightly"]
