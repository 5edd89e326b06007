"""Tests of TLS and token authentication, over gRPC and REST."""

from __future__ import annotations

import datetime
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from knet.base.errors import UserError
from knet.serving.dev_server.security import Tls
from knet.serving.dev_server.server import DevServer, Options

STATUS = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "knet"})


@dataclass(frozen=True)
class Pair:
    """A key and its self-signed certificate."""

    certificate: Path
    key: Path


def make_pair(folder: Path) -> Pair:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pair = Pair(folder / "cert.pem", folder / "key.pem")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pair


def status(channel: grpc.Channel, **metadata: str) -> Any:
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    return stub.GetModelStatus(STATUS, timeout=60, metadata=list(metadata.items()))


def test_tls_requires_a_client_certificate(base_path: Path, tmp_path: Path) -> None:
    mine, theirs = make_pair(tmp_path / "server"), make_pair(tmp_path / "client")
    tls = Tls(mine.certificate, mine.key, client_ca=theirs.certificate)
    with DevServer(base_path, host="localhost", port=0, rest_port=0, options=Options(tls=tls)) as server:
        trusted = grpc.ssl_channel_credentials(
            mine.certificate.read_bytes(), theirs.key.read_bytes(), theirs.certificate.read_bytes()
        )
        with grpc.secure_channel(server.address, trusted) as channel:
            assert status(channel).model_version_status[0].version == 7
        untrusted = grpc.ssl_channel_credentials(mine.certificate.read_bytes())
        for channel in (
            grpc.secure_channel(server.address, untrusted),
            grpc.insecure_channel(server.address),
        ):
            with channel, pytest.raises(grpc.RpcError) as caught:
                status(channel)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        context = ssl.create_default_context(cafile=mine.certificate)
        url = f"https://{server.rest_address}/v1/models/knet"
        with pytest.raises(OSError):
            urllib.request.urlopen(url, context=context).read()
        context.load_cert_chain(theirs.certificate, theirs.key)
        assert urllib.request.urlopen(url, context=context).status == 200


def test_tls_files_that_are_not_certificates_are_refused(base_path: Path, tmp_path: Path) -> None:
    pair = make_pair(tmp_path / "server")
    pair.key.write_text("no key")
    with pytest.raises(UserError, match=r"cert\.pem and .*key\.pem are not a certificate and its key in PEM"):
        DevServer(base_path, port=0, options=Options(tls=Tls(pair.certificate, pair.key)))


def test_token_is_required_except_for_health_checks(base_path: Path) -> None:
    options = Options(token="swordfish")
    with (
        DevServer(base_path, port=0, rest_port=0, options=options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        for wrong in ({}, {"authorization": "Bearer sword"}, {"authorization": "swordfish"}):
            with pytest.raises(grpc.RpcError) as caught:
                status(channel, **wrong)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
            assert "swordfish" not in (caught.value.details() or "")
        assert status(channel, authorization="Bearer swordfish").model_version_status
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert check.status == health_pb2.HealthCheckResponse.SERVING

        def http(path: str, **headers: str) -> int:
            request = urllib.request.Request(f"http://{server.rest_address}{path}", headers=headers)
            try:
                return urllib.request.urlopen(request).status
            except urllib.error.HTTPError as error:
                return error.code

        assert http("/v1/models/knet") == http("/card") == 401
        assert http("/v1/models/knet", Authorization="Bearer sword") == 401
        assert http("/v1/models/knet", Authorization="Bearer swordfish") == 200
        assert http("/") == http(options.metrics_path or "") == 200
