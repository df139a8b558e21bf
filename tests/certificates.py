"""Certificates as files, where a farm and its callers look for them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme

from farm.gateway.tls_files import TlsFiles

YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
HOSTS = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path

    @property
    def files(self) -> TlsFiles:
        return TlsFiles(self.cert, self.key)


class Authority:
    """A CA in `folder`, which it makes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.cert = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.cert))

    def issue(
        self, *hosts: str, name: str = "farm", not_after: datetime.datetime | None = None
    ) -> Pair:
        """A certificate for these hosts, in files that an earlier one of that name had."""
        issued = self._ca.issue_cert(*(hosts or HOSTS), not_after=not_after)
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        pair.cert.write_bytes(chain)
        pair.key.write_bytes(issued.private_key_pem.bytes())
        return pair
