"""When leases are extended, and what becomes of workers that lost theirs."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from farm.gateway import renewals, workers
from farm.gateway.renewals import Renewals
from farm.gateway.workers import Worker
from farm.store.clock import Clock
from farm.store.records import Lease, ShotKey
from farm.store.store import Store
from svdfarm.v1 import resources_pb2

LEASE_S = 30.0


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class FakeStore:
    """Renews what is in `held`, and keeps what it was asked for."""

    def __init__(self, time: Time) -> None:
        self.database = self
        self.clock = Clock(steady_s=time.monotonic)
        self.lease_s = LEASE_S
        self.held: set[str] = set()
        self.asked: list[tuple[set[str], set[str], float]] = []

    async def write(self, _: Any, ids: set[str], tokens: dict[str, Worker], expiry_s: float) -> Any:
        self.asked.append((ids, set(tokens), expiry_s))
        return self.held & set(tokens)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(workers, "time", made)
    monkeypatch.setattr(renewals, "time", made)
    return made


def holding(name: str, *tokens: str) -> Worker:
    worker = Worker(name, resources_pb2.Worker())
    for number, token in enumerate(tokens, start=1):
        worker.hold(Lease(ShotKey("j", number), 1, token))
    return worker


def test_leases_are_extended_together_once_a_third_of_them_is_gone(time: Time) -> None:
    store, lost = FakeStore(time), list[list[Worker]]()

    async def tell(found: list[Worker]) -> None:
        lost.append(found)

    renewing = Renewals(cast(Store, store), tell)
    first, second, idle = holding("w1", "a"), holding("w2", "b", "c"), holding("w3")
    store.held = {"a", "b", "c"}
    time.now_s += LEASE_S / 3 - 1
    second.hold(Lease(ShotKey("j", 9), 1, "young"))
    for worker in (first, second, idle):
        renewing.heard(worker)
    assert not renewing._heard  # none is due
    time.now_s += 1
    for worker in (first, second, idle):
        renewing.heard(worker)
    asyncio.run(renewing._renew())
    assert store.asked == [({"w1", "w2"}, {"a", "b", "c"}, time.now_s + LEASE_S)]
    assert lost == []
    renewing.heard(first)
    assert not renewing._heard  # extended just now
    time.now_s += LEASE_S / 3
    assert sorted(second.due(LEASE_S / 3)) == ["b", "c", "young"]


def test_a_worker_hears_of_leases_that_are_no_more(time: Time) -> None:
    store, lost = FakeStore(time), list[list[Worker]]()

    async def tell(found: list[Worker]) -> None:
        lost.append(found)

    renewing = Renewals(cast(Store, store), tell)
    good, bad = holding("w1", "a"), holding("w2", "b", "c")
    store.held = {"a", "b"}
    time.now_s += LEASE_S / 3
    renewing.heard(good)
    renewing.heard(bad)
    asyncio.run(renewing._renew())
    assert lost == [[bad]]
