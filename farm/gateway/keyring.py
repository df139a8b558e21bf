"""Who a caller is: the farm's tokens as this gateway knows them, at most some seconds old."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc
import structlog

from farm.gateway.access import Access
from farm.gateway.wall import Refusal
from farm.jobs.access import DEFAULT_TENANT, LOCAL_OPERATOR, Caller, Scope
from farm.jobs.token_text import TokenText
from farm.store import tokens
from farm.store.errors import StoreAway
from farm.store.store import Store
from farm.store.tokens import Token, WaysIn

log = structlog.get_logger()

_LOOK_EVERY_S = 5.0  # also where no other gateway told of a change
_STALE_S = 60.0  # after which nobody is let in by what was known
_NOTE_USES_EVERY_S = 30.0
_PAUSE_AFTER_ERROR_S = 1.0
_FARM = Caller(DEFAULT_TENANT, frozenset(Scope))  # by FARM_TOKEN
_WORKER = Caller(DEFAULT_TENANT, frozenset({Scope.WORK}))  # by FARM_WORKER_TOKEN
_NO_HASH = hashlib.sha256(b"").hexdigest()  # of no secret: a secret is never empty

TELL_TOKEN = "give token=... to Client, or FARM_TOKEN or --token to the command"  # noqa: S105


@dataclass(frozen=True)
class FarmTokens:
    """The tokens that a gateway was started with, and whether it may do without any."""

    farm: str | None = None
    worker: str | None = None
    loopback: bool = False  # only this machine reaches it

    @property
    def ways_in(self) -> WaysIn:
        """How operators get in besides by the tokens of the table."""
        return WaysIn(farm_token=self.farm is not None, loopback=self.loopback)


class Keyring:
    """Says who a caller is, and ends the calls of those who may no longer call.

    `run` is its task. Nothing here waits for the database while a call does.
    """

    def __init__(self, store: Store, given: FarmTokens) -> None:
        self.ways_in = given.ways_in
        self._store = store
        self._farm_sha256 = _sha256(given.farm) if given.farm else None
        self._worker_sha256 = _sha256(given.worker) if given.worker else None
        self._tokens: Mapping[str, Token] = {}
        self._loaded_s = -_STALE_S
        self._uses_s: dict[str, float] = {}
        self._uses_noted_s = time.monotonic()
        self._open_calls: set[OpenCall] = set()
        self._look = asyncio.Event()

    @property
    def in_force(self) -> bool:
        """Whether callers need a token. One that has expired keeps the door shut."""
        if not self.ways_in.loopback or self.ways_in.farm_token:
            return True
        return any(token.revoke_time_s is None for token in self._tokens.values())

    @property
    def lets_operators_in(self) -> bool:
        """Whether there is a token that an operator can use now."""
        if self.ways_in.farm_token:
            return True
        now_s = self._store.clock.wall_s()
        return any(
            Scope.OPERATE in token.scopes and _refusal(token, now_s) is None
            for token in self._tokens.values()
        )

    def look(self) -> None:
        """Says that some gateway changed a token."""
        self._look.set()

    async def load(self) -> None:
        """Looks the tokens up, and ends the calls of those who may no longer call."""
        started_s = time.monotonic()
        self._tokens = await self._store.database.read(tokens.every)
        self._loaded_s = started_s
        for call in list(self._open_calls):
            call.check(self)

    async def run(self) -> None:
        """Keeps up with the table, until cancelled."""
        while True:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await self._look.wait()
                self._look.clear()
                await self.load()
                if time.monotonic() - self._uses_noted_s >= _NOTE_USES_EVERY_S:
                    await self.note_uses()
            except StoreAway as error:
                log.warning("tokens.not_read", error=str(error))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            except Exception as error:  # a full disk: it may come back
                log.error("tokens.failed", exc_info=error)
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)

    async def note_uses(self) -> None:
        """Writes down which tokens were used."""
        self._uses_noted_s = time.monotonic()
        uses_s, self._uses_s = self._uses_s, {}
        if uses_s:
            await self._store.database.write(tokens.note_uses, uses_s)

    def admit(self, authorization: Sequence[str | bytes], access: Access, what: str) -> Caller:
        """The caller who sent these headers, if they may have `what`. Raises Refusal."""
        caller = self._caller(authorization)
        if access.scopes and caller.scopes.isdisjoint(access.scopes):
            wanted = access.scopes[0]
            have = ", ".join(sorted(caller.scopes)) or "none"
            raise Refusal(
                grpc.StatusCode.PERMISSION_DENIED,
                f"{what} wants a token with scope {wanted}; this one has {have}: an operator "
                f"makes one with farm token create --scope {wanted}",
                "SCOPE_MISSING",
                {"scope": wanted, "method": what},
            )
        return caller

    def token(self, token_id: str) -> Token | None:
        """A token as it was when this last looked."""
        return self._tokens.get(token_id)

    @contextlib.contextmanager
    def open_call(self, call: OpenCall) -> Iterator[None]:
        """Keeps an eye on a call that goes on."""
        self._open_calls.add(call)
        try:
            yield
        finally:
            self._open_calls.discard(call)

    def _caller(self, authorization: Sequence[str | bytes]) -> Caller:
        # All of this whatever was given, so that the time tells nothing of what is known.
        given = _bearer(authorization)
        parts = TokenText.read(given)
        token = self._tokens.get(parts.id) if parts else None
        secret_sha256 = parts.secret_sha256 if parts else _sha256(given)
        given_sha256 = _sha256(given)
        is_farm = hmac.compare_digest(given_sha256, self._farm_sha256 or _NO_HASH)
        is_worker = hmac.compare_digest(given_sha256, self._worker_sha256 or _NO_HASH)
        is_token = hmac.compare_digest(secret_sha256, token.secret_sha256 if token else _NO_HASH)
        if given and is_farm:
            return _FARM
        if given and is_worker:
            return _WORKER
        if not self.in_force:
            return LOCAL_OPERATOR
        if not authorization:
            told = f"this farm wants a token: {TELL_TOKEN}"
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, told, "TOKEN_MISSING")
        if token is None or not is_token:
            told = f"this farm does not know the token: was it copied whole? Else {TELL_TOKEN}"
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, told, "TOKEN_INVALID")
        return self._holder(token)

    def _holder(self, token: Token) -> Caller:
        if time.monotonic() - self._loaded_s > _STALE_S:
            told = "the farm's store cannot be reached just now; ask again"
            raise Refusal(grpc.StatusCode.UNAVAILABLE, told, "STORE_AWAY")
        now_s = self._store.clock.wall_s()
        refusal = _refusal(token, now_s)
        if refusal is not None:
            raise refusal
        self._uses_s[token.id] = now_s
        return Caller(token.tenant, token.scopes, token.id)


@dataclass(eq=False)
class OpenCall:
    """A call that goes on for long."""

    authorization: Sequence[str | bytes]
    access: Access
    what: str
    end: Callable[[Refusal], None]

    def check(self, keyring: Keyring) -> None:
        """Ends it where its caller would be refused now."""
        try:
            keyring.admit(self.authorization, self.access, self.what)
        except Refusal as refusal:
            self.end(refusal)


def _refusal(token: Token, now_s: float) -> Refusal | None:
    """Why a token is good for nothing; None where it is good."""
    name = f"tokens/{token.id} ({token.display_name})"
    if token.revoke_time_s is not None:
        told = f"{name} was revoked {_told(token.revoke_time_s)}: ask an operator for another one"
        return Refusal(grpc.StatusCode.UNAUTHENTICATED, told, "TOKEN_REVOKED")
    if token.expire_time_s is not None and token.expire_time_s <= now_s:
        told = f"{name} expired {_told(token.expire_time_s)}: ask an operator for another one"
        return Refusal(grpc.StatusCode.UNAUTHENTICATED, told, "TOKEN_EXPIRED")
    return None


def _told(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("at %Y-%m-%d %H:%M:%S UTC")


def _bearer(authorization: Sequence[str | bytes]) -> str:
    """The token of an Authorization header; empty where there is none, or more than one."""
    if len(authorization) != 1:
        return ""
    header = authorization[0]
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    scheme, _, token = text.partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
