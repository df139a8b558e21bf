"""Tokens as frozen values, and the messages that ask for them."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from svdfarm.errors import Rejected
from svdfarm.v1 import token_service_pb2 as rpc

_WHOLE = re.compile(r"svdfarm_([0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)


class Scope(enum.StrEnum):
    """What a token is good for."""

    RENDER = "render"
    OPERATE = "operate"
    WORK = "work"
    METRICS = "metrics"


@dataclass(frozen=True)
class Token:
    """A token as the farm keeps it: without its secret."""

    name: str
    display_name: str
    tenant: str
    scopes: tuple[str, ...]  # of `Scope`; a newer farm may have others
    create_time: datetime | None
    expire_time: datetime | None  # None: never
    revoke_time: datetime | None  # None: it is not revoked
    use_time: datetime | None  # its last use, to within a minute; None: never


@dataclass(frozen=True)
class NewToken:
    """A token that was just made. `text` is what its holder shows; nobody can ask for it again."""

    token: Token
    text: str = field(repr=False)


@dataclass(frozen=True)
class Identity:
    """Who a client is to its farm."""

    tenant: str
    scopes: tuple[str, ...]
    token: Token | None  # None: FARM_TOKEN, FARM_WORKER_TOKEN, or none on a farm without tokens


def create_request(
    display_name: str, scopes: Iterable[str], tenant: str, expires_in: timedelta | None
) -> rpc.CreateTokenRequest:
    """What asks for a new token. Raises Rejected."""
    if isinstance(scopes, str) or not isinstance(scopes, Iterable):
        raise Rejected(f"scopes is {scopes!r}; allowed: a list of scopes, such as [Scope.RENDER]")
    if expires_in is not None and not isinstance(expires_in, timedelta):
        raise Rejected(f"expires_in is {expires_in!r}; allowed: a timedelta, or None for never")
    try:
        request = rpc.CreateTokenRequest(
            display_name=display_name, scopes=list(scopes), tenant=tenant
        )
        if expires_in is not None:
            request.ttl.FromTimedelta(expires_in)
    except (TypeError, ValueError) as error:
        raise Rejected(
            f"a token of display_name {display_name!r}, scopes {scopes!r}, tenant {tenant!r} and "
            f"expires_in {expires_in!r} cannot be asked for: {error}"
        ) from error
    return request


def revoke_request(name: str) -> rpc.RevokeTokenRequest:
    """What revokes `tokens/ID`, `ID` or a token whole, its secret unsent. Raises Rejected."""
    if not isinstance(name, str):
        raise Rejected(f"a token's name is {name!r}; allowed: tokens/ID, or only the ID")
    whole = _WHOLE.fullmatch(name.strip())
    token_id = whole[1] if whole else name.removeprefix("tokens/")
    try:
        return rpc.RevokeTokenRequest(name=f"tokens/{token_id}")
    except ValueError as error:  # half of a character
        raise Rejected("a token's name is tokens/ID, or only the ID") from error


def token_from_wire(message: rpc.Token) -> Token:
    """A token."""

    def time(name: str, stamp: Timestamp) -> datetime | None:
        return stamp.ToDatetime(tzinfo=UTC) if message.HasField(name) else None  # type: ignore[arg-type]

    return Token(
        name=message.name,
        display_name=message.display_name,
        tenant=message.tenant,
        scopes=tuple(message.scopes),
        create_time=time("create_time", message.create_time),
        expire_time=time("expire_time", message.expire_time),
        revoke_time=time("revoke_time", message.revoke_time),
        use_time=time("use_time", message.use_time),
    )


def identity_from_wire(message: rpc.WhoAmIResponse) -> Identity:
    """Who somebody is."""
    token = token_from_wire(message.token) if message.HasField("token") else None
    return Identity(message.tenant, tuple(message.scopes), token)
