"""Tokens by the SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import svdfarm
from svdfarm import AsyncClient, Client, Scope
from tests.hostile.conftest import FARM_TOKEN
from tests.unit.client.running_farm import RunningFarm, running_farm


@pytest.fixture(scope="module")
def guarded_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFarm]:
    with running_farm(tmp_path_factory.mktemp("guarded"), FARM_TOKEN) as farm:
        yield farm


@pytest.fixture
def operator(guarded_farm: RunningFarm) -> Iterator[Client]:
    with Client(guarded_farm.address, FARM_TOKEN) as client:
        yield client


def test_a_token_is_made_used_listed_and_revoked(
    guarded_farm: RunningFarm, operator: Client
) -> None:
    made = operator.create_token("Ann", [Scope.RENDER], expires_in=timedelta(days=90))

    with Client(guarded_farm.address, made.text) as ann:
        who = ann.whoami()
        assert list(ann.jobs()) == []
        with pytest.raises(svdfarm.Unauthenticated) as refused:
            next(ann.workers())

    assert who == svdfarm.Identity("default", ("render",), made.token)
    assert refused.value.reason == "SCOPE_MISSING"
    assert refused.value.metadata["scope"] == "operate"
    assert made.token in list(operator.tokens())
    assert made.token.expire_time is not None
    left = made.token.expire_time - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert made.text not in repr(made)
    assert operator.revoke_token(made.token.name.removeprefix("tokens/")).revoke_time
    assert operator.revoke_token(made.token.name).revoke_time


async def test_a_token_is_made_and_revoked_by_a_loop(guarded_farm: RunningFarm) -> None:
    async with AsyncClient(guarded_farm.address, FARM_TOKEN) as operator:
        made = await operator.create_token("Bob", ["render", "operate"])
        assert made.token in [token async for token in operator.tokens()]
        assert (await operator.whoami()).token is None
        assert (await operator.revoke_token(made.token.name)).revoke_time


def test_without_a_token_the_message_says_how_to_give_one(guarded_farm: RunningFarm) -> None:
    with Client(guarded_farm.address) as client, pytest.raises(svdfarm.Unauthenticated) as refused:
        client.whoami()
    assert "give token=... to Client, or FARM_TOKEN or --token to the command" in str(refused.value)
    assert refused.value.reason == "TOKEN_MISSING"


WRONG: dict[str, Callable[[Any], object]] = {
    "no name": lambda c: c.create_token("", ["render"]),
    "a number for a name": lambda c: c.create_token(5, ["render"]),
    "half a character": lambda c: c.create_token("\ud800", ["render"]),
    "one scope as text": lambda c: c.create_token("a", "render"),
    "scopes of numbers": lambda c: c.create_token("a", [1]),
    "no scopes": lambda c: c.create_token("a", []),
    "scopes of nothing": lambda c: c.create_token("a", None),
    "an unknown scope": lambda c: c.create_token("a", ["root"]),
    "a number for a tenant": lambda c: c.create_token("a", ["render"], tenant=7),
    "a number for a time": lambda c: c.create_token("a", ["render"], expires_in=7),
    "a time that is over": lambda c: c.create_token(
        "a", ["render"], expires_in=timedelta(seconds=-1)
    ),
    "the longest time": lambda c: c.create_token("a", ["render"], expires_in=timedelta.max),
    "a name that is none": lambda c: c.revoke_token("a/b"),
    "a number for a token": lambda c: c.revoke_token(5),
    "half a token": lambda c: c.revoke_token("\ud800"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_asked_is_rejected(operator: Client, kind: str) -> None:
    with pytest.raises(svdfarm.Rejected):
        WRONG[kind](operator)


def test_a_first_token_that_locks_operators_out_is_rejected(tmp_path: Path) -> None:
    with running_farm(tmp_path) as farm, Client(farm.address) as anyone:
        with pytest.raises(svdfarm.Rejected, match="operate and never expire") as refused:
            anyone.create_token("Ann", [Scope.RENDER])
        assert refused.value.reason == "NO_OPERATOR_TOKEN"
