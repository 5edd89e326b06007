"""Channels: addresses, load balancing, and encryption with its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from certificates import write_certificate
from fake_model_server import FakeModelServer

from knet.base.errors import UserError
from knet.client import Client, Tls
from knet.client.connection import channel_options


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate for 127.0.0.1 and its key."""
    return write_certificate(tmp_path_factory.mktemp("pem"))


@pytest.fixture
def encrypted(pem: Path) -> Iterator[FakeModelServer]:
    """A server that requires client certificates."""
    certificate, key = (pem / "cert.pem").read_bytes(), (pem / "key.pem").read_bytes()
    server = FakeModelServer(
        credentials=grpc.ssl_server_credentials([(key, certificate)], certificate, require_client_auth=True)
    )
    yield server
    server.stop()


def test_mutual_tls(encrypted: FakeModelServer, pem: Path) -> None:
    tls = Tls(pem / "cert.pem", pem / "cert.pem", pem / "key.pem")
    with Client(encrypted.address, tls=tls, token="secret") as client:
        assert client.predict([b"0.5"])[0].score == 0.5
    assert encrypted.metadata["authorization"] == "Bearer secret"


@pytest.mark.parametrize("mistake", ["none", "no client certificate", "unknown authority"])
def test_client_with_wrong_tls_is_rejected(encrypted: FakeModelServer, pem: Path, mistake: str) -> None:
    tls = {"none": None, "no client certificate": Tls(pem / "cert.pem"), "unknown authority": Tls()}[mistake]
    with (
        Client(encrypted.address, tls=tls, retries=0) as client,
        pytest.raises(UserError, match="no model server answers at .* or the TLS files it needs"),
    ):
        client.predict([b"0.5"])
    assert encrypted.requests == []


def test_credentials_of_bad_files_are_an_error(pem: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give both or neither"):
        Tls(certificate=pem / "cert.pem").credentials()
    with pytest.raises(UserError, match=r"none\.pem: No such file or directory; give a PEM file"):
        Tls(tmp_path / "none.pem").credentials()
    with pytest.raises(UserError, match=r"key\.pem holds no certificate in PEM format"):
        Tls(pem / "key.pem").credentials()
    with pytest.raises(UserError, match=r"cert\.pem holds no private key in PEM format"):
        Tls(None, pem / "cert.pem", pem / "cert.pem").credentials()


def test_client_balances_between_addresses() -> None:
    servers = [FakeModelServer(), FakeModelServer()]
    target = "ipv4:" + ",".join(server.address for server in servers)
    with Client(target, batch=1) as client:
        client.predict([b"0.5"])
        client.predict([b"0.5"] * 40)
        counts = [len(server.requests) for server in servers]
        assert sum(counts) == 41 and min(counts) >= 10
        servers[0].stop()
        assert len(client.predict([b"0.5"] * 40)) == 40
    assert len(servers[0].requests) == counts[0]
    servers[1].stop()


def test_client_connects_to_a_socket(tmp_path: Path) -> None:
    server = FakeModelServer(address=f"unix:{tmp_path}/knet.sock")
    with Client(server.address, token="secret") as client:
        assert client.predict([b"0.5"])[0].score == 0.5
    server.stop()


@pytest.mark.parametrize(
    ("target", "local"),
    [
        *((f"{host}:8500", True) for host in ("localhost", "127.0.0.1", "127.8.8.8", "[::1]")),
        *((f"{scheme}localhost:8500", True) for scheme in ("dns:", "dns:///", "dns://8.8.8.8/")),
        *((name, True) for name in ("localhost", "unix:/run/knet", "unix:///run/knet", "unix-abstract:knet")),
        *((f"ipv4:127.0.0.1:1,{host}:2", host == "127.0.0.1") for host in ("127.0.0.1", "10.0.0.1")),
        *(("ipv6:[::1]:8500", True), ("ipv6:[2001:db8::1]:8500", False), ("[2001:db8::1]:8500", False)),
        *((f"{host}:8500", False) for host in ("dns:///knet", "localhost.example.org", "10.127.0.0")),
    ],
)
def test_client_sends_no_plain_token_elsewhere(target: str, local: bool) -> None:
    assert dict(channel_options(target, retries=0))["grpc.enable_http_proxy"] == int(not local)
    if local:
        Client(target, token="secret")
    else:
        with pytest.raises(UserError, match="unencrypted: give tls too"):
            Client(target, token="secret")
