"""The gateway's settings, checked once at the start."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from farm.jobs.token_text import TokenText
from farm.jobs.webhooks import Webhooks

if TYPE_CHECKING:  # addresses are read where only the client is installed
    from sqlalchemy import URL

    from farm.gateway.tls_files import TlsFiles
    from farm.store.bucket import Bucket


_TOKEN = re.compile(r"[!-~]{16,}")
_HOST = re.compile(r"[a-z0-9._:-]+")  # an internationalised name is given in its ASCII form
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ConfigInvalid(ValueError):
    """A setting that cannot be used; the message says which and what to do."""


@dataclass(frozen=True)
class Address:
    """HOST:PORT; port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads HOST:PORT or [IPV6]:PORT. Raises ConfigInvalid."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise ConfigInvalid(f"address {text!r}; write HOST:PORT, such as 127.0.0.1:50051")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_unspecified(self) -> bool:
        """Whether it stands for every address of this machine."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_public_url(text: str) -> str:
    """An origin as browsers write it, such as https://farm.example. Raises ConfigInvalid."""
    told = ConfigInvalid(
        f"--public-url is {text!r}; allowed: where browsers find the page, such as "
        "https://farm.example or https://farm.example:8443, without a path"
    )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise told from error
    extra = (parts.path.strip("/"), parts.query, parts.fragment, parts.username)
    if parts.scheme not in _DEFAULT_PORTS or not host or any(extra) or not _HOST.fullmatch(host):
        raise told
    address = f"[{host}]" if ":" in host else host
    if port in (None, _DEFAULT_PORTS[parts.scheme]):
        return f"{parts.scheme}://{address}"
    return f"{parts.scheme}://{address}:{port}"


def read_proxies(text: str) -> tuple[str, ...]:
    """Addresses and networks, with commas between. Raises ConfigInvalid."""
    found: Sequence[str] = [part.strip() for part in text.split(",") if part.strip()]
    for part in found:
        try:
            ipaddress.ip_network(part)
        except ValueError as error:
            raise ConfigInvalid(
                f"--trusted-proxies has {part!r}; allowed: addresses and networks, such as "
                "127.0.0.1 or 10.0.0.0/8, with commas between"
            ) from error
    return tuple(found)


@dataclass(frozen=True)
class Limits:
    """What one caller can make the gateway hold."""

    message_bytes: int = 20 * 2**20
    concurrent_rpcs: int = 2000
    sessions: int = 10_000  # of workers, besides
    streams_per_connection: int = 100
    unary_timeout_s: float = 120.0
    concurrent_image_decodes: int = 2  # up to 1 GiB each, in a process of its own
    http_requests_per_s: float = 100.0  # of one address
    http_burst: float = 200.0
    http_answers: int = 450  # of 500 connections: the others are for probes and scrapes


@dataclass(frozen=True)
class GatewayConfig:
    """Everything the gateway needs to know."""

    address: Address
    http: Address
    data: Path
    database: URL | None = None  # None: a SQLite file in `data`; a URL's repr hides its password
    artifacts: Bucket | None = None  # None: a folder in `data`
    direct_upload: bool = False  # workers put their videos into the bucket themselves
    worker_address: Address | None = None  # None: workers come to `address`
    token: str | None = None  # the farm's own, good for everything
    worker_token: str | None = None  # good for workers, and nothing else
    tls: TlsFiles | None = None  # of every port; None: plaintext
    plaintext: bool = False  # whether other machines may come to a port without TLS
    open_metrics: bool = False  # /metrics wants no token
    public_url: str | None = None  # where browsers find the page, behind a proxy (read_public_url)
    trusted_proxies: tuple[str, ...] = ()  # whose X-Forwarded-For is believed (read_proxies)
    default_model: str | None = None  # None: what the connected workers serve, else svd-xt
    webhooks: Webhooks = field(default_factory=Webhooks)  # what jobs may tell of their endings
    share_cache: bool = False  # a tenant's shot may share the video of another's
    retention_s: float | None = None  # of jobs that have ended; None: for ever
    lease_s: float = 30.0
    heartbeat_s: float = 5.0
    # How long a worker whose session broke may take to come back with its shot.
    reconnect_grace_s: float = 0.5
    # How long a shot may go without a step. The first clip of a size waits for a compiler.
    stall_s: float = 600.0
    # Of the data folder's disk, for what was accepted: below it nothing new is, and nothing starts.
    disk_reserve_bytes: int = 2**30
    stop_grace_s: float = 5.0
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.stall_s <= 0:
            raise ConfigInvalid(
                f"stall_timeout is {self.stall_s:g} s; allowed: from 1s, such as 10m"
            )
        if self.direct_upload and self.artifacts is None:
            raise ConfigInvalid(
                "--direct-upload needs a bucket that workers can upload to: give one with "
                "--artifacts s3://BUCKET/PREFIX, or leave it out"
            )
        if not self.address.is_loopback and self.worker_address is None:
            raise ConfigInvalid(
                f"{self.address} can be reached from other machines: give the workers a port of "
                "their own with --worker-address, such as 0.0.0.0:50052"
            )
        for address in (self.address, self.worker_address, self.http):
            if address and not address.is_loopback and not (self.tls or self.plaintext):
                raise ConfigInvalid(
                    f"{address} can be reached from other machines, and whoever is on the way "
                    "could read tokens and images: give --tls-cert and --tls-key, or say that "
                    "the network itself is safe, with --plaintext or FARM_PLAINTEXT=true"
                )
        for name, token in (("FARM_TOKEN", self.token), ("FARM_WORKER_TOKEN", self.worker_token)):
            if token is not None and not _TOKEN.fullmatch(token):
                raise ConfigInvalid(
                    f"{name} cannot be used: allowed are 16 or more printable ASCII characters "
                    "without spaces, as no client could send others; use a long random one"
                )
            if token is not None and TokenText.read(token) is not None:
                raise ConfigInvalid(
                    f"{name} is a token that `farm token create` made: here it would be good for "
                    "more than it was made for, and nobody could revoke it. Leave it to clients, "
                    "and use another long random text"
                )
        if self.token is not None and self.token == self.worker_token:
            raise ConfigInvalid(
                "FARM_WORKER_TOKEN is the same as FARM_TOKEN: give workers one of their own, which "
                "is good for nothing else, or set FARM_TOKEN alone"
            )

    @property
    def exposed(self) -> Address | None:
        """An address that other machines can reach; None where there is none."""
        addresses = (self.address, self.worker_address, self.http)
        return next((a for a in addresses if a is not None and not a.is_loopback), None)
