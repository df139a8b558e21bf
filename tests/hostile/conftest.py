"""A guarded farm, and tokens of every kind of badness and of every scope."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from farm.gateway.server import Gateway
from farm.jobs.access import DEFAULT_TENANT, Scope
from farm.jobs.token_text import TokenText
from farm.store import tokens
from farm.store.database import Database
from farm.store.tokens import NewToken, WaysIn
from tests.hostile.gateway import RealGateway, real_gateway
from tests.running import eventually, running_gateway

FARM_TOKEN = "the-farms-own-token-of-a-test"
WORKER_TOKEN = "the-workers-own-token-of-a-test"


def keep_token(
    database: Database,
    *scopes: Scope,
    tenant: str = DEFAULT_TENANT,
    expire_time_s: float | None = None,
    revoked: bool = False,
) -> str:
    """The text of a new token that is in the table."""
    text = TokenText.make()
    given = frozenset(scopes)
    new = NewToken(text.id, text.secret_sha256, "of a test", tenant, given, expire_time_s)
    ways_in = WaysIn(farm_token=True)
    database.submit(tokens.create, new, time.time(), ways_in).result()
    if revoked:
        database.submit(tokens.revoke, text.id, time.time(), ways_in).result()
    return str(text)


@dataclass(frozen=True)
class Tokens:
    """One of each kind; all but `of_scope` are good for nothing, whatever their scopes."""

    malformed: str
    unknown: str
    wrong_secret: str
    expired: str
    revoked: str
    of_scope: dict[Scope, str]

    def secrets(self) -> list[str]:
        """What no log, message or metric may hold."""
        texts = [self.malformed, self.unknown, self.wrong_secret, self.expired, self.revoked]
        texts += [*self.of_scope.values(), FARM_TOKEN, WORKER_TOKEN]
        return [text.rpartition("_")[2] for text in texts]


@dataclass(frozen=True)
class Guarded:
    """A farm that wants tokens, and those."""

    gateway: Gateway
    channel: grpc.Channel
    tokens: Tokens


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_farm(tmp_path_factory.mktemp("guarded")) as farm:
        yield farm


class guarded_farm:  # noqa: N801 - used as a function
    """A guarded farm for the length of a with block."""

    def __init__(self, folder: Path) -> None:
        self._running = running_gateway(
            folder / "data", token=FARM_TOKEN, worker_token=WORKER_TOKEN
        )

    def __enter__(self) -> Guarded:
        gateway = self._running.__enter__()
        database = gateway._store.database
        every = tuple(Scope)
        good = keep_token(database, *every)
        kept = Tokens(
            malformed="svdfarm_not-a-token",
            unknown=str(TokenText.make()),
            wrong_secret=str(dataclasses.replace(TokenText.make(), id=good.split("_")[1])),
            expired=keep_token(database, *every, expire_time_s=time.time() - 1),
            revoked=keep_token(database, *every, revoked=True),
            of_scope={scope: keep_token(database, scope) for scope in Scope},
        )
        last = kept.of_scope[list(Scope)[-1]].split("_")[1]
        eventually(lambda: gateway._keyring.token(last))
        self._channel = grpc.insecure_channel(str(gateway.address))
        return Guarded(gateway, self._channel, kept)

    def __exit__(self, *error: object) -> None:
        self._channel.close()
        self._running.__exit__(None, None, None)


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[RealGateway]:
    """A gateway in a process of its own."""
    with real_gateway(tmp_path) as gateway:
        yield gateway
