"""A certificate's files: read, and tried in a handshake with ourselves before anybody else's."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from farm.gateway.config import ConfigInvalid

_READS = 5  # where the files are being swapped


@dataclass(frozen=True)
class TlsFiles:
    """Where a certificate is."""

    cert: Path  # PEM: the certificate, then those that lead to its CA
    key: Path  # PEM, without a passphrase
    client_ca: Path | None = None  # whose certificates callers over gRPC must show; None: none

    @classmethod
    def named(cls, cert: str | None, key: str | None, client_ca: str | None) -> TlsFiles | None:
        """The files as settings name them; None where none is named. Raises ConfigInvalid."""
        if cert is None and key is None:
            if client_ca is None:
                return None
            raise ConfigInvalid(
                f"--tls-client-ca is {client_ca}, and the gateway has no certificate of its own: "
                "give --tls-cert and --tls-key too"
            )
        if cert is None or key is None:
            missing = "--tls-cert" if cert is None else "--tls-key"
            raise ConfigInvalid(f"{missing} is missing: a certificate and its key go together")
        return cls(Path(cert), Path(key), Path(client_ca) if client_ca else None)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every one of them."""
        return (self.cert, self.key, *((self.client_ca,) if self.client_ca else ()))


@dataclass(frozen=True)
class Loaded:
    """A certificate that shakes hands, as gRPC and as HTTP want it."""

    configuration: grpc.ServerCertificateConfiguration
    context: ssl.SSLContext
    names: tuple[str, ...]  # the hosts that it is for
    expires: str  # such as `Jun 26 21:41:46 2027 GMT`


def load(files: TlsFiles) -> Loaded:
    """What the files hold. Raises ConfigInvalid that names the one that cannot be used."""
    for _ in range(_READS):
        before = [_bytes(path) for path in files.paths]
        try:
            loaded = _loaded(files, before)
        except ConfigInvalid:
            if [_bytes(path) for path in files.paths] == before:
                raise
            continue  # the certificate was the old one, and the key the new one's
        if [_bytes(path) for path in files.paths] == before:
            return loaded
    raise ConfigInvalid(f"{files.cert} and {files.key} change all the time: what writes them?")


def _loaded(files: TlsFiles, held: Sequence[bytes]) -> Loaded:
    chain, key, *client_ca = held
    certificates = _text(files.cert, chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_passphrase(files.key))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            told = f"{files.key} is not the key of the certificate in {files.cert}"
            raise ConfigInvalid(f"{told}: give the two that were made together") from error
        raise ConfigInvalid(
            f"{files.key} holds no private key in PEM; allowed: -----BEGIN PRIVATE KEY----- and "
            "what follows"
        ) from error
    if files.client_ca is not None:
        _text(files.client_ca, client_ca[0])
    found = _tried(files.cert, certificates, context)
    return Loaded(
        grpc.ssl_server_certificate_configuration(
            [(key, chain)], root_certificates=client_ca[0] if client_ca else None
        ),
        context,
        tuple(name for _, name in found.get("subjectAltName", ())),
        found["notAfter"],
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(
            f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
        ) from error


def _text(path: Path, held: bytes) -> str:
    """A file of certificates as text. Raises ConfigInvalid."""
    try:
        text = held.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (UnicodeDecodeError, ssl.SSLError) as error:
        raise ConfigInvalid(
            f"{path} holds no certificate in PEM; allowed: -----BEGIN CERTIFICATE----- and what "
            "follows"
        ) from error
    return text


def _no_passphrase(key: Path) -> Any:
    def refuse() -> str:  # OpenSSL would ask at the terminal
        raise ConfigInvalid(f"{key} has a passphrase, which nobody is there to type: take it off")

    return refuse


def _tried(cert: Path, certificates: str, server: ssl.SSLContext) -> dict[str, Any]:
    """The certificate, as a caller that trusts it sees it. Raises ConfigInvalid."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=certificates)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(back, there)
    callee = server.wrap_bio(there, back, server_side=True)
    try:
        for side in (caller, callee, caller, callee):
            _step(side)
        found: dict[str, Any] = dict(caller.getpeercert() or {})
    except ssl.SSLCertVerificationError as error:
        raise ConfigInvalid(f"{cert} cannot be used: {error.verify_message}") from error
    except (ssl.SSLError, ValueError) as error:
        raise ConfigInvalid(f"{cert} cannot be used: {error}") from error
    return found


def _step(side: ssl.SSLObject) -> None:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return
