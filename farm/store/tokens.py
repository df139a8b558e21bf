"""Tokens as rows: who may call, with a hash in the place of the secret.

Where operators get in by nothing else, these functions keep them from locking themselves out: the
first token, and the last one but others, is an operator's that never expires.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, or_, select, update

from farm.jobs.access import Scope
from farm.store import schema, tenants
from farm.store.errors import LastOperatorToken, NoOperatorToken, NotFound
from farm.store.moves import wake_watchers

# What `Database.on_commit` and `on_news` tell, among the ids of jobs, when tokens changed.
TOKENS = "tokens"
_USE_WITHIN_S = 60.0


@dataclass(frozen=True)
class NewToken:
    """A token to be kept."""

    id: str
    secret_sha256: str = field(repr=False)
    display_name: str
    tenant: str
    scopes: frozenset[Scope]
    expire_time_s: float | None  # None: never

    @property
    def keeps_operators_in(self) -> bool:
        """Whether it lets an operator in for as long as nobody revokes it."""
        return Scope.OPERATE in self.scopes and self.expire_time_s is None


@dataclass(frozen=True)
class Token(NewToken):
    """A token as it is stored."""

    create_time_s: float
    revoke_time_s: float | None  # None: it is good
    use_time_s: float | None  # its last use, to within a minute; None: never


@dataclass(frozen=True)
class WaysIn:
    """How operators get into a farm, besides by these tokens."""

    farm_token: bool = False  # by FARM_TOKEN
    loopback: bool = False  # by being on its machine, as long as there is no token


def create(conn: Connection, new: NewToken, now_s: float, ways_in: WaysIn) -> Token:
    """Keeps a new token.

    Raises NoOperatorToken for a first one that locks operators out, NotFound for a tenant that is
    not there.
    """
    if not tenants.exists(conn, new.tenant):
        raise NotFound("tenant", f"tenants/{new.tenant}")
    if not ways_in.farm_token and not new.keeps_operators_in and not _count(conn):
        raise NoOperatorToken
    row = {
        "id": new.id,
        "secret_sha256": new.secret_sha256,
        "display_name": new.display_name,
        "tenant": new.tenant,
        "scopes": json.dumps(sorted(new.scopes)),
        "create_time_s": now_s,
        "expire_time_s": new.expire_time_s,
    }
    conn.execute(insert(schema.token).values(row))
    wake_watchers(conn, TOKENS)
    return get(conn, new.id)


def get(conn: Connection, token_id: str) -> Token:
    """One token, revoked ones too. Raises NotFound."""
    row = conn.execute(select(schema.token).where(schema.token.c.id == token_id)).one_or_none()
    if row is None:
        raise NotFound("token", f"tokens/{token_id}")
    return _record(row)


def page(conn: Connection, start: int, size: int) -> list[Token]:
    """Tokens, the oldest first."""
    token = schema.token
    query = select(token).order_by(token.c.create_time_s, token.c.id).offset(start).limit(size)
    return list(map(_record, conn.execute(query)))


def every(conn: Connection) -> dict[str, Token]:
    """All tokens by their ids, revoked ones too."""
    return {token.id: token for token in map(_record, conn.execute(select(schema.token)))}


def revoke(conn: Connection, token_id: str, now_s: float, ways_in: WaysIn) -> Token:
    """Makes a token good for nothing, from now on; one that is already stays as it is.

    Raises NotFound, and LastOperatorToken for one without which no operator could get in.
    """
    found = get(conn, token_id)
    if found.revoke_time_s is not None:
        return found
    if found.keeps_operators_in and not ways_in.farm_token and count_operators(conn) == 1:
        opens_again = ways_in.loopback and _count(conn) == 1  # the farm is as before its first
        if not opens_again:
            raise LastOperatorToken
    token = schema.token
    conn.execute(update(token).where(token.c.id == token_id).values(revoke_time_s=now_s))
    wake_watchers(conn, TOKENS)
    return get(conn, token_id)


def note_uses(conn: Connection, use_times_s: Mapping[str, float]) -> None:
    """Notes when tokens were used, to within a minute."""
    token = schema.token
    for token_id, use_time_s in use_times_s.items():
        old = or_(token.c.use_time_s.is_(None), token.c.use_time_s <= use_time_s - _USE_WITHIN_S)
        used = update(token).where(token.c.id == token_id, old).values(use_time_s=use_time_s)
        conn.execute(used)


def count_operators(conn: Connection) -> int:
    """How many tokens let operators in and never expire."""
    operators = schema.token.c.scopes.contains(json.dumps(Scope.OPERATE), autoescape=True)
    return _count(conn, operators, schema.token.c.expire_time_s.is_(None))


def _count(conn: Connection, *narrowed: ColumnElement[bool]) -> int:
    """How many tokens are not revoked; those that have expired are there, so that no door opens."""
    token = schema.token
    query = select(func.count()).select_from(token)
    found: int = conn.execute(query.where(token.c.revoke_time_s.is_(None), *narrowed)).scalar_one()
    return found


def _record(row: Row[Any]) -> Token:
    # A scope of a newer version is no scope here: the token is good for less, never for more.
    known = set(Scope)
    return Token(
        id=row.id,
        secret_sha256=row.secret_sha256,
        display_name=row.display_name,
        tenant=row.tenant,
        scopes=frozenset(Scope(word) for word in json.loads(row.scopes) if word in known),
        expire_time_s=row.expire_time_s,
        create_time_s=row.create_time_s,
        revoke_time_s=row.revoke_time_s,
        use_time_s=row.use_time_s,
    )
