"""Encrypted channels and their files."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake_model_server import FakeModelServer

from knet.base.errors import UserError
from knet.client import Client, Tls


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("pem")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


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
