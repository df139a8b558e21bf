"""The gateway's certificate: what is refused at the start, and what renews it."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from farm.gateway import server, tls
from farm.gateway.config import Address, ConfigInvalid, GatewayConfig
from farm.gateway.tls import Certificates
from farm.gateway.tls_files import TlsFiles, load
from tests.certificates import YESTERDAY, Authority, Pair
from tests.running import LOOPBACK, eventually, running_gateway

TOKEN = "a-token-of-this-test"
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def _without(path: Path) -> None:
    path.unlink()


def _garbled(path: Path) -> None:
    path.write_text("no PEM\n")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda pair: _without(pair.cert), "farm.crt cannot be read: no such file"),
        (lambda pair: _without(pair.key), "farm.key cannot be read: no such file"),
        (lambda pair: _folder(pair.key), "farm.key cannot be read: is a directory"),
        (lambda pair: _garbled(pair.cert), "farm.crt holds no certificate in PEM"),
        (lambda pair: pair.cert.write_bytes(b"\x30\xff"), "farm.crt holds no certificate in PEM"),
        (lambda pair: _garbled(pair.key), "farm.key holds no private key in PEM"),
        (lambda pair: _lock(pair.key), "farm.key has a passphrase"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    authority: Authority, spoil: Callable[[Pair], object], told: str
) -> None:
    pair = authority.issue()
    spoil(pair)
    with pytest.raises(ConfigInvalid, match=told):
        load(pair.files)


def _lock(path: Path) -> None:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    sealed = serialization.BestAvailableEncryption(b"secret")
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, traditional, sealed))


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    one, other = authority.issue(), authority.issue(name="other")
    with pytest.raises(ConfigInvalid, match=r"other\.key is not the key of .*farm\.crt"):
        load(TlsFiles(one.cert, other.key))


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    with pytest.raises(ConfigInvalid, match=r"farm\.crt cannot be used: .*expired"):
        load(authority.issue(not_after=YESTERDAY).files)


def test_a_client_ca_that_is_none_is_named(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue()
    _garbled(tmp_path / "clients.pem")
    with pytest.raises(ConfigInvalid, match=r"clients\.pem holds no certificate"):
        load(TlsFiles(pair.cert, pair.key, tmp_path / "clients.pem"))


@pytest.mark.parametrize(
    ("cert", "key", "client_ca", "told"),
    [
        ("a.crt", None, None, "--tls-key is missing"),
        (None, "a.key", None, "--tls-cert is missing"),
        (None, None, "ca.pem", "--tls-client-ca is ca.pem, and the gateway has no certificate"),
    ],
)
def test_half_of_the_settings_is_refused(
    cert: str | None, key: str | None, client_ca: str | None, told: str
) -> None:
    with pytest.raises(ConfigInvalid, match=told):
        TlsFiles.named(cert, key, client_ca)


@pytest.mark.parametrize("port", ["address", "worker_address", "http"])
def test_plaintext_for_other_machines_has_to_be_asked_for(
    authority: Authority, tmp_path: Path, port: str
) -> None:
    settings: dict[str, object] = {"address": LOOPBACK, "http": LOOPBACK, "data": tmp_path}
    settings |= {"token": TOKEN, port: Address("0.0.0.0", 50051)}
    if port == "address":
        settings["worker_address"] = LOOPBACK
    with pytest.raises(ConfigInvalid, match=r"--tls-cert and --tls-key.*--plaintext"):
        GatewayConfig(**settings)  # type: ignore[arg-type]
    assert GatewayConfig(**settings, plaintext=True)  # type: ignore[arg-type]
    assert GatewayConfig(**settings, tls=authority.issue().files)  # type: ignore[arg-type]


def test_a_bad_certificate_stops_the_start_before_the_store_is_opened(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue()
    pair.key.unlink()
    with (
        pytest.raises(ConfigInvalid, match=r"farm\.key"),
        running_gateway(tmp_path / "data", tls=pair.files),
    ):
        pass
    assert not (tmp_path / "data").exists()


def _check(address: Address, ca: Path, name: str | None = None) -> int:
    options = [("grpc.ssl_target_name_override", name)] if name else []
    credentials = grpc.ssl_channel_credentials(ca.read_bytes())
    local = [("grpc.use_local_subchannel_pool", 1), *options]
    with grpc.secure_channel(str(address), credentials, options=local) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status


def _names(address: Address, ca: Path) -> set[str]:
    """The hosts of the certificate that HTTP shows now."""
    context = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection((address.host, address.port)) as sock,
        context.wrap_socket(sock, server_hostname=address.host) as secured,
    ):
        return {name for _, name in (secured.getpeercert() or {})["subjectAltName"]}


def test_a_renewed_certificate_is_taken_without_a_restart(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue("127.0.0.1")
    with running_gateway(tmp_path / "data", tls=pair.files, worker_address=LOOPBACK) as gateway:
        for address in (gateway.address, gateway.worker_address):
            assert _check(address, authority.cert) == SERVING
            with pytest.raises(grpc.RpcError, match="Hostname Verification Check failed"):
                _check(address, authority.cert, "renewed.example")
        assert _names(gateway.http, authority.cert) == {"127.0.0.1"}
        authority.issue("127.0.0.1", "renewed.example")
        for address in (gateway.address, gateway.worker_address):
            assert _check(address, authority.cert, "renewed.example") == SERVING
        assert _names(gateway.http, authority.cert) == {"127.0.0.1", "renewed.example"}


def test_a_swapped_link_is_a_renewal(authority: Authority, tmp_path: Path) -> None:
    """As kubelet does it: ..data is a link to a folder, and is replaced by another."""
    for host in ("old.example", "new.example"):
        pair = authority.issue(host)
        folder = tmp_path / host
        folder.mkdir()
        pair.cert.rename(folder / "tls.crt")
        pair.key.rename(folder / "tls.key")
    (tmp_path / "..data").symlink_to("old.example")
    certificates = Certificates(
        TlsFiles(tmp_path / "..data" / "tls.crt", tmp_path / "..data" / "tls.key")
    )
    assert certificates.latest.names == ("old.example",)
    (tmp_path / "..new").symlink_to("new.example")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert certificates.latest.names == ("new.example",)


def test_a_broken_renewal_leaves_the_old_certificate_in_place(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue()
    with capture_logs() as logs, running_gateway(tmp_path / "data", tls=pair.files) as gateway:
        _garbled(pair.key)
        assert _check(gateway.address, authority.cert) == SERVING
        assert _names(gateway.http, authority.cert)
        (told,) = [line for line in logs if line["event"] == "tls.not_renewed"]
        assert "farm.key holds no private key" in told["error"]
        authority.issue("127.0.0.1", "renewed.example")
        assert _check(gateway.address, authority.cert, "renewed.example") == SERVING


def test_http_is_served_over_tls_and_not_without(authority: Authority, tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", tls=authority.issue().files) as gateway:
        context = ssl.create_default_context(cafile=str(authority.cert))
        secured = http.client.HTTPSConnection(
            "127.0.0.1", gateway.http.port, timeout=10, context=context
        )
        for path, body in (("/healthz", b"ok\n"), ("/metrics", b"# HELP")):
            secured.request("GET", path)
            assert secured.getresponse().read().startswith(body)
        secured.close()
        plain = http.client.HTTPConnection("127.0.0.1", gateway.http.port, timeout=10)
        plain.request("GET", "/healthz")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()
        plain.close()


def test_a_handshake_that_never_ends_is_ended(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.http.HANDSHAKE_S", 0.5)
    monkeypatch.setattr(server, "HANDSHAKE_S", 0.5)
    assert tls.HANDSHAKE_S == 10
    with running_gateway(tmp_path / "data", tls=authority.issue().files) as gateway:
        for address in (gateway.address, gateway.http):
            with socket.create_connection((address.host, address.port), 10) as silent:
                started = time.monotonic()
                assert _ended(silent)
                assert time.monotonic() - started < 5
        eventually(lambda: _check(gateway.address, authority.cert) == SERVING)


def _ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
