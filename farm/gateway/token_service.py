"""TokenService: who may call, for operators."""

from __future__ import annotations

import re
from collections.abc import Sequence

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from farm.gateway import names
from farm.gateway.config import Limits
from farm.gateway.keyring import Keyring
from farm.gateway.wall import Context, Violation, invalid_fields, unary
from farm.jobs.access import DEFAULT_TENANT, Scope, caller
from farm.jobs.token_text import TokenText
from farm.store import tokens
from farm.store.store import Store
from farm.store.tokens import NewToken, Token
from svdfarm.v1 import token_service_pb2 as pb
from svdfarm.v1 import token_service_pb2_grpc as pb_grpc

log = structlog.get_logger()

_DISPLAY_NAME_LIMIT = 128
_TENANT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_TTL_MIN_S = 60
_TTL_MAX_S = 10 * 365 * 86400


class TokenService(pb_grpc.TokenServiceServicer):
    """Makes, lists and revokes tokens."""

    def __init__(self, store: Store, keyring: Keyring, limits: Limits) -> None:
        self.limits = limits
        self._store = store
        self._keyring = keyring

    @unary
    async def CreateToken(  # noqa: N802 - the proto's name, here and below
        self, request: pb.CreateTokenRequest, context: Context
    ) -> pb.CreateTokenResponse:
        """A new token, and its text, this once."""
        now_s = self._store.clock.wall_s()
        ttl_s = request.ttl.ToTimedelta().total_seconds() if request.HasField("ttl") else None
        text = TokenText.make()
        new = new_token(text, request.display_name, request.tenant, request.scopes, ttl_s, now_s)
        ways_in = self._keyring.ways_in
        made = await self._store.database.write(tokens.create, new, now_s, ways_in)
        await self._keyring.load()
        log.info("token.created", token=made.id, tenant=made.tenant, scopes=sorted(made.scopes))
        return pb.CreateTokenResponse(token=_to_wire(made), text=str(text))

    @unary
    async def ListTokens(  # noqa: N802
        self, request: pb.ListTokensRequest, context: Context
    ) -> pb.ListTokensResponse:
        """A page of the tokens, the oldest first."""
        size = names.page_size(request.page_size)
        start = names.page_token(request.page_token) or 0
        found = await self._store.database.read(tokens.page, start, size + 1)
        next_page = str(start + size) if len(found) > size else ""
        return pb.ListTokensResponse(tokens=map(_to_wire, found[:size]), next_page_token=next_page)

    @unary
    async def RevokeToken(  # noqa: N802
        self, request: pb.RevokeTokenRequest, context: Context
    ) -> pb.Token:
        """The token, revoked."""
        token_id = names.token_id(request.name)
        now_s = self._store.clock.wall_s()
        ways_in = self._keyring.ways_in
        revoked = await self._store.database.write(tokens.revoke, token_id, now_s, ways_in)
        log.info("token.revoked", token=token_id)
        self._keyring.look()  # not waited for: this call may be the first that it ends
        return _to_wire(revoked)

    @unary
    async def WhoAmI(  # noqa: N802
        self, request: pb.WhoAmIRequest, context: Context
    ) -> pb.WhoAmIResponse:
        """The caller, as the farm sees them."""
        found = caller.get()
        answer = pb.WhoAmIResponse(tenant=found.tenant, scopes=sorted(found.scopes))
        token = self._keyring.token(found.token_id) if found.token_id else None
        if token is not None:
            answer.token.CopyFrom(_to_wire(token))
        return answer


def new_token(
    text: TokenText,
    display_name: str,
    tenant: str,
    scopes: Sequence[str],
    ttl_s: float | None,
    now_s: float,
) -> NewToken:
    """A token that may be kept. Raises Refusal that names every field that is wrong."""
    wrong = []
    if not 0 < len(display_name) <= _DISPLAY_NAME_LIMIT or not display_name.isprintable():
        allowed = f"from 1 to {_DISPLAY_NAME_LIMIT} printable characters"
        wrong.append(Violation("display_name", f"is {display_name[:200]!r}; allowed: {allowed}"))
    if tenant and not _TENANT.fullmatch(tenant):
        allowed = "up to 63 of a-z, 0-9 and -, such as default"
        wrong.append(Violation("tenant", f"is {tenant[:200]!r}; allowed: {allowed}"))
    known = ", ".join(Scope)
    if not scopes:
        wrong.append(Violation("scopes", f"are none; allowed: one or more of {known}"))
    for index, scope in enumerate(scopes):
        if scope not in set(Scope):
            told = f"is {scope[:100]!r}; allowed: {known}"
            wrong.append(Violation(f"scopes[{index}]", told))
    if ttl_s is not None and not _TTL_MIN_S <= ttl_s <= _TTL_MAX_S:
        allowed = f"from {_TTL_MIN_S} s to {_TTL_MAX_S} s (10 years), or none for ever"
        wrong.append(Violation("ttl", f"is {ttl_s:g} s; allowed: {allowed}"))
    if wrong:
        raise invalid_fields(tuple(wrong))
    return NewToken(
        id=text.id,
        secret_sha256=text.secret_sha256,
        display_name=display_name,
        tenant=tenant or DEFAULT_TENANT,
        scopes=frozenset(map(Scope, scopes)),
        expire_time_s=None if ttl_s is None else now_s + ttl_s,
    )


def _to_wire(token: Token) -> pb.Token:
    message = pb.Token(
        name=f"tokens/{token.id}",
        display_name=token.display_name,
        tenant=token.tenant,
        scopes=sorted(token.scopes),
    )
    message.create_time.CopyFrom(_timestamp(token.create_time_s))
    for field, time_s in (
        ("expire_time", token.expire_time_s),
        ("revoke_time", token.revoke_time_s),
        ("use_time", token.use_time_s),
    ):
        if time_s is not None:
            getattr(message, field).CopyFrom(_timestamp(time_s))
    return message


def _timestamp(time_s: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(int(time_s * 1e9))
    return stamp
