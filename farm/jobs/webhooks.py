"""The rules of webhooks: which URLs and addresses, how signed, how often tried.

Signatures are those of the Standard Webhooks specification (standardwebhooks.com).
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from farm.jobs.states import JobState

URL_LIMIT = 2048
# After each attempt that failed; after one more, some seven hours in all, it is given up.
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0)

_PREFIX = "whsec_"  # of secrets
_KEY_BYTES = range(24, 65)  # as the specification says
_EPOCH = datetime.fromtimestamp(0, UTC)
_GONE = 410  # by the specification: send nothing more
_PLAIN = re.compile(r"[!-~]+")
_HOST = re.compile(r"(?!.{254})[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # how a network that has only IPv6 writes an IPv4 address


class DeliveryState(enum.StrEnum):
    """Where one message to a webhook is in its life."""

    PENDING = "PENDING"  # to be sent, for the first time or again
    DELIVERED = "DELIVERED"
    GIVEN_UP = "GIVEN_UP"


class WebhookInvalid(ValueError):
    """A URL or a secret that cannot be used; the message says why, and never tells it."""


@dataclass(frozen=True)
class Webhooks:
    """What the farm's owner allows."""

    keys: tuple[bytes, ...] = field(default=(), repr=False)  # each signs; none: no webhooks at all
    private: bool = False  # addresses that only this network has, and plain http

    @classmethod
    def read(cls, secret: str | None, *, private: bool) -> Webhooks:
        """From the settings: secrets such as whsec_..., a space between two. Raises WebhookInvalid.

        Two of them sign while receivers go over from the one to the other.
        """
        return cls(tuple(map(_read_key, (secret or "").split())), private)


@dataclass(frozen=True)
class Url:
    """A webhook's URL, taken apart."""

    secure: bool
    host: str
    port: int
    target: str  # path and query

    @property
    def authority(self) -> str:
        """What an HTTP request calls its host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _port(secure=self.secure) else f"{host}:{self.port}"


def read_url(given: str, *, private: bool) -> Url:
    """Takes a webhook's URL apart. Raises WebhookInvalid, worded to stand behind its field."""
    if len(given) > URL_LIMIT:
        raise WebhookInvalid(f"has {len(given)} characters; allowed: at most {URL_LIMIT}")
    if not _PLAIN.fullmatch(given):
        raise WebhookInvalid("has a space or a letter that is not ASCII; write it percent-encoded")
    try:
        parts = urlsplit(given)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise WebhookInvalid(f"is no URL: {error}") from None
    if parts.scheme not in ("https", "http"):
        raise WebhookInvalid("is no https URL; allowed: such as https://example.com/hooks/farm")
    secure = parts.scheme == "https"
    if not secure and not private:
        raise WebhookInvalid("begins with http://; allowed: https://")
    if parts.username is not None or parts.password is not None:
        raise WebhookInvalid("has a user or password; the farm's signature says who sends")
    if parts.fragment or given.endswith("#"):
        raise WebhookInvalid("has a #fragment, which is never sent; leave it out")
    if "%" in host or not (_HOST.fullmatch(host) or _is_address(host)):
        raise WebhookInvalid("names no host that can be used")
    if port == 0:
        raise WebhookInvalid("has port 0; allowed: from 1 to 65535")
    if _is_address(host) and not private and (problem := address_problem(host)):
        raise WebhookInvalid(f"is at {problem}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(secure, host, port or _port(secure=secure), target)


def address_problem(address: str) -> str | None:
    """Why a message must not go to an address of this or a private network; None: it may."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip in _NAT64:
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    allowed = ip.is_global and not ip.is_multicast
    if isinstance(ip, IPv6Address):
        inside = ip.sixtofour is not None or ip.teredo is not None  # of an IPv4 address
        allowed = allowed and ip in _GLOBAL_IPV6 and not inside
    if allowed:
        return None
    return f"{address}, which is no public address; a gateway with --webhook-private allows it"


def sign(keys: Sequence[bytes], message_id: str, time_s: int, body: bytes) -> str:
    """The header webhook-signature: one signature a key."""
    signed = f"{message_id}.{time_s}.".encode() + body
    macs = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


def write_message(state: JobState, time_s: float, data: Mapping[str, object]) -> str:
    """The body that tells of a job's ending."""
    told = {"type": f"job.{state.lower()}", "timestamp": iso_time(time_s), "data": data}
    return json.dumps(told, allow_nan=False, separators=(",", ":"))


def iso_time(time_s: float) -> str:
    """Unix seconds as ISO 8601 writes them, to the microsecond that the API tells."""
    return (_EPOCH + timedelta(microseconds=round(time_s * 1e6))).isoformat()


@dataclass(frozen=True)
class Verdict:
    """What becomes of a message after an attempt."""

    state: DeliveryState
    pause_s: float | None = None  # until the next one; set in PENDING


def judge(attempt_count: int, status: int | None) -> Verdict:
    """What an attempt means, the last of `attempt_count`; `status` is of HTTP, None: no answer."""
    if status is not None and 200 <= status < 300:
        return Verdict(DeliveryState.DELIVERED)
    if status == _GONE or attempt_count > len(PAUSES_S):
        return Verdict(DeliveryState.GIVEN_UP)
    return Verdict(DeliveryState.PENDING, PAUSES_S[attempt_count - 1])


def _read_key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise WebhookInvalid(
            "FARM_WEBHOOK_SECRET is not whsec_ and 24 to 64 bytes in base64; make one with: "
            'echo "whsec_$(openssl rand -base64 32)"'
        )
    return key


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _port(*, secure: bool) -> int:
    return 443 if secure else 80
