"""Which certificates a caller trusts, and which one it shows."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import grpc

from svdfarm.errors import Rejected


@dataclass(frozen=True)
class Tls:
    """What a TLS connection needs to know beside its address. `read` looks at the files."""

    ca: str | PathLike[str] | bytes | None = None  # PEM; None: the CAs that gRPC knows
    cert: str | PathLike[str] | None = None  # PEM; what this caller shows
    key: str | PathLike[str] | None = None  # PEM, without a passphrase
    server_name: str | None = None  # that the farm's certificate must name; None: the address

    @property
    def is_given(self) -> bool:
        """Whether anything is."""
        return self != Tls()

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC secures a channel with. Raises Rejected that names the file."""
        self.context()
        return grpc.ssl_channel_credentials(
            root_certificates=None if self.ca is None else _bytes("tls_ca", self.ca),
            private_key=None if self.key is None else _bytes("tls_key", self.key),
            certificate_chain=None if self.cert is None else _bytes("tls_cert", self.cert),
        )

    def context(self) -> ssl.SSLContext:
        """The same for Python's own TLS. Raises Rejected that names the file."""
        context = ssl.create_default_context()
        if self.ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # The farm's own certificate will do as well, as it does for gRPC.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            try:
                context.load_verify_locations(cadata=_bytes("tls_ca", self.ca).decode("ascii"))
            except (ssl.SSLError, UnicodeDecodeError) as error:
                given = "the tls_ca given" if isinstance(self.ca, bytes) else f"tls_ca {self.ca}"
                raise Rejected(
                    f"{given} holds no certificate in PEM; allowed: -----BEGIN CERTIFICATE----- "
                    "and what follows"
                ) from error
        if (self.cert is None) != (self.key is None):
            missing = "tls_cert" if self.cert is None else "tls_key"
            raise Rejected(f"{missing} is missing: a certificate and its key go together")
        if self.cert is not None and self.key is not None:
            self._load_pair(context, Path(self.cert), Path(self.key))
        context.set_alpn_protocols(["h2"])
        return context

    def _load_pair(self, context: ssl.SSLContext, cert: Path, key: Path) -> None:
        _bytes("tls_cert", cert)
        _bytes("tls_key", key)
        try:
            context.load_cert_chain(cert, key, password=_no_passphrase(key))
        except ssl.SSLError as error:
            mixed = error.reason == "KEY_VALUES_MISMATCH"
            told = "do not belong together" if mixed else "are no certificate and key in PEM"
            raise Rejected(f"tls_cert {cert} and tls_key {key} {told}") from error


def _bytes(name: str, given: str | PathLike[str] | bytes) -> bytes:
    if isinstance(given, bytes):
        return given
    try:
        return Path(given).read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Rejected(f"{name} {given} cannot be read: {why}") from error


def _no_passphrase(key: Path) -> Any:
    def refuse() -> str:  # OpenSSL would ask at the terminal
        raise Rejected(f"tls_key {key} has a passphrase, which nobody is there to type")

    return refuse
