"""Finding the server, signing in, and what is said where that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp.client import client as kfp_client

from pipeline.errors import UserError
from pipeline.runners.kubeflow.connect import ENDPOINT, IN_CLUSTER_URL, TOKEN, connect, server_url


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine says where a server is."""
    for name in (ENDPOINT, "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_server")
def test_server_url_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://variable:8888")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert server_url("http://configured:8888") == "http://configured:8888"


@pytest.mark.usefixtures("no_server")
def test_server_url_from_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://variable:8888")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert server_url("") == "http://variable:8888"


@pytest.mark.usefixtures("no_server")
def test_server_url_inside_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert server_url("") == IN_CLUSTER_URL


@pytest.mark.usefixtures("no_server")
def test_server_url_missing() -> None:
    with pytest.raises(UserError, match=rf"kubeflow\.host is not set: .*--host.*{ENDPOINT}") as caught:
        server_url("")
    assert "\n" not in str(caught.value)


def test_server_url_names_are_those_of_kfp() -> None:
    address = kfp_client.Client._IN_CLUSTER_DNS_NAME.format("kubeflow")
    assert (kfp_client.KF_PIPELINES_ENDPOINT_ENV, f"http://{address}") == (ENDPOINT, IN_CLUSTER_URL)


def _list(host: str) -> None:
    with connect(host, namespace=None) as client:
        client.list_pipelines()


def test_the_token_of_the_environment_is_sent(
    make_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_server(token="secret").serving() as host:
        with pytest.raises(UserError, match=rf"authentication credentials \(401\); give a token in {TOKEN}"):
            _list(host)
        monkeypatch.setenv(TOKEN, "secret")
        _list(host)


def test_the_token_of_the_service_account_is_sent_and_read_anew(
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


def test_a_server_that_is_not_there_is_told_in_one_line(make_server: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"cannot reach .* at http://127.0.0.1:1: .*refused") as caught:
        _list("http://127.0.0.1:1")
    assert "\n" not in str(caught.value)


def test_what_the_server_refuses_is_told_in_its_words(host: str) -> None:
    with (
        pytest.raises(UserError, match=r"Recurring run x not found \(404\)"),
        connect(host, namespace=None) as client,
    ):
        client.delete_recurring_run("x")


def test_nothing_is_printed(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(host, namespace=None) as client:
        client.create_experiment("x")
    assert capsys.readouterr().out == ""
