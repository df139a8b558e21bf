"""Tokens as rows, on both databases."""

from __future__ import annotations

import dataclasses

import pytest

from farm.jobs.access import DEFAULT_TENANT, Scope
from farm.jobs.token_text import TokenText
from farm.store import tokens
from farm.store.database import Database
from farm.store.errors import LastOperatorToken, NoOperatorToken, NotFound
from farm.store.tokens import NewToken, Token, WaysIn

NONE = WaysIn()
LOOPBACK = WaysIn(loopback=True)
FARM_TOKEN = WaysIn(farm_token=True)


def new(*scopes: Scope, expire_time_s: float | None = None, name: str = "a token") -> NewToken:
    text = TokenText.make()
    given = frozenset(scopes)
    return NewToken(text.id, text.secret_sha256, name, DEFAULT_TENANT, given, expire_time_s)


def create(
    database: Database, *scopes: Scope, expire_time_s: float | None = None, ways_in: WaysIn = NONE
) -> Token:
    token = new(*scopes, expire_time_s=expire_time_s)
    return database.submit(tokens.create, token, 1.0, ways_in).result()


def revoke(database: Database, token: Token, ways_in: WaysIn = NONE) -> Token:
    return database.submit(tokens.revoke, token.id, 2.0, ways_in).result()


def test_a_token_is_kept_as_it_was_given(database: Database) -> None:
    given = new(Scope.OPERATE, Scope.RENDER)

    kept = database.submit(tokens.create, given, 1.0, NONE).result()

    assert kept == database.submit(tokens.get, given.id).result()
    assert kept == database.submit(tokens.every).result()[given.id]
    assert kept.scopes == {Scope.OPERATE, Scope.RENDER}
    assert (kept.create_time_s, kept.revoke_time_s, kept.use_time_s) == (1.0, None, None)
    assert kept.secret_sha256 not in repr(kept)


def test_a_page_holds_the_oldest_first(database: Database) -> None:
    ids = []
    for now_s in (3.0, 1.0, 2.0):
        token = new(Scope.OPERATE)
        database.submit(tokens.create, token, now_s, NONE).result()
        ids.append(token.id)

    first = database.submit(tokens.page, 0, 2).result()
    rest = database.submit(tokens.page, 2, 2).result()

    assert [token.id for token in [*first, *rest]] == [ids[1], ids[2], ids[0]]


def test_a_revocation_stays_as_it_was(database: Database) -> None:
    create(database, Scope.OPERATE)
    token = create(database, Scope.RENDER)

    revoked = revoke(database, token)
    again = database.submit(tokens.revoke, token.id, 9.0, NONE).result()

    assert revoked.revoke_time_s == again.revoke_time_s == 2.0


def test_there_is_no_token_that_nobody_made(database: Database) -> None:
    for act in (tokens.get, lambda conn, token_id: tokens.revoke(conn, token_id, 1.0, NONE)):
        with pytest.raises(NotFound, match="tokens/nobody"):
            database.submit(act, "nobody").result()


def test_uses_are_noted_once_a_minute(database: Database) -> None:
    token = create(database, Scope.OPERATE)

    seen = []
    for use_time_s in (100.0, 130.0, 160.0):
        database.submit(tokens.note_uses, {token.id: use_time_s, "gone": 1.0}).result()
        seen.append(database.submit(tokens.get, token.id).result().use_time_s)

    assert seen == [100.0, 100.0, 160.0]


@pytest.mark.parametrize(
    ("scopes", "expire_time_s"), [((Scope.RENDER,), None), ((Scope.OPERATE,), 1e12)]
)
def test_a_first_token_that_locks_operators_out_is_refused(
    database: Database, scopes: tuple[Scope, ...], expire_time_s: float | None
) -> None:
    with pytest.raises(NoOperatorToken, match="operate and never expire"):
        create(database, *scopes, expire_time_s=expire_time_s)
    assert database.submit(tokens.every).result() == {}

    create(database, *scopes, expire_time_s=expire_time_s, ways_in=FARM_TOKEN)
    create(database, *scopes, expire_time_s=expire_time_s)  # now they are locked out or are not


def test_a_second_token_may_be_any(database: Database) -> None:
    create(database, Scope.OPERATE)
    create(database, Scope.RENDER, expire_time_s=5.0)
    assert len(database.submit(tokens.every).result()) == 2


def test_the_last_operators_token_is_not_revoked_while_others_are_good(database: Database) -> None:
    operator = create(database, Scope.OPERATE, Scope.RENDER)
    other = create(database, Scope.RENDER)
    create(database, Scope.OPERATE, expire_time_s=1e12)  # counts for nothing: it will end

    for ways_in in (NONE, LOOPBACK):
        with pytest.raises(LastOperatorToken, match="no operator could get in"):
            revoke(database, operator, ways_in)
    assert revoke(database, other).revoke_time_s
    assert revoke(database, operator, FARM_TOKEN).revoke_time_s


def test_an_operators_token_goes_where_there_is_another(database: Database) -> None:
    old, new_one = create(database, Scope.OPERATE), create(database, Scope.OPERATE)
    assert database.submit(tokens.count_operators).result() == 2

    revoke(database, old)

    assert database.submit(tokens.count_operators).result() == 1
    with pytest.raises(LastOperatorToken):
        revoke(database, new_one)


def test_the_very_last_token_goes_only_where_the_farm_is_on_loopback(database: Database) -> None:
    token = create(database, Scope.OPERATE)

    with pytest.raises(LastOperatorToken):
        revoke(database, token, NONE)

    assert revoke(database, token, LOOPBACK).revoke_time_s


def test_an_expired_token_keeps_the_door_shut(database: Database) -> None:
    operator = create(database, Scope.OPERATE)
    create(database, Scope.RENDER, expire_time_s=0.5)  # expired since

    with pytest.raises(LastOperatorToken):
        revoke(database, operator, LOOPBACK)


def test_a_token_is_for_a_tenant_that_is_there(database: Database) -> None:
    given = dataclasses.replace(new(Scope.OPERATE), tenant="nobody")
    with pytest.raises(NotFound, match="there is no tenant tenants/nobody"):
        database.submit(tokens.create, given, 1.0, NONE).result()
