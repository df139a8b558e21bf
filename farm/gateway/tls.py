"""The gateway's certificate, read again when its files change.

cert-manager and certbot renew in place, by swapping symlinks: each handshake looks whether the
files are those that it knows, which costs a `stat` each.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any

import grpc
import structlog

from farm.gateway.config import ConfigInvalid
from farm.gateway.tls_files import Loaded, TlsFiles, load

log = structlog.get_logger()

# How long a connection may take to become secure; gRPC would allow two minutes, asyncio one.
HANDSHAKE_S = 10.0


class Certificates:
    """The newest certificate that is good. Threads may share it."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises ConfigInvalid."""
        self._files = files
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._loaded = load(files)

    @property
    def latest(self) -> Loaded:
        """What the files hold; where that is not good, what they held before."""
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps
                try:
                    self._loaded = load(self._files)
                except ConfigInvalid as error:
                    log.error("tls.not_renewed", error=str(error), expires=self._loaded.expires)
                else:
                    log.info("tls.renewed", expires=self._loaded.expires)
            return self._loaded

    def server_credentials(self) -> grpc.ServerCredentials:
        """What secures a gRPC port. Keep it for as long as the port is served: gRPC does not."""
        given = self.latest

        def renewed() -> Any:
            nonlocal given
            latest = self.latest
            if latest is given:
                return None  # no change: which gRPC takes, and its types do not tell
            given = latest
            return latest.configuration

        return grpc.dynamic_ssl_server_credentials(
            given.configuration,
            renewed,
            require_client_authentication=self._files.client_ca is not None,
        )

    def http_context(self) -> ssl.SSLContext:
        """What secures the HTTP port. It asks for no client certificate.

        Kubernetes' probes have none to show.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def renew(connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
            connection.context = self.latest.context

        context.sni_callback = renew  # called in every handshake, also of one that names no host
        return context

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._files.paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
