"""What the store tells of shots and workers by model, whatever tier they are of."""

from __future__ import annotations

import dataclasses

from farm.jobs.tiers import Tier
from farm.store import claims, jobs, levels, workers
from farm.store.database import Database
from farm.store.workers import Session
from tests.unit.store.conftest import new_job


def submit_in(database: Database, tier: Tier) -> None:
    new = new_job()
    (shot,) = new.shots
    params = dataclasses.replace(shot.params, tier=tier)
    shots = (dataclasses.replace(shot, params=params),)
    database.submit(jobs.create_job, dataclasses.replace(new, shots=shots), 0.0).result()


def test_a_shot_is_claimed_by_what_it_needs_and_counted_with_its_model(database: Database) -> None:
    for tier in (Tier.FAST, Tier.EXACT, Tier.FAST):
        submit_in(database, tier)

    def waiting(*served: str) -> list[Tier | None]:
        found = database.submit(claims.queue, served, 9).result()
        return [database.submit(jobs.get_shot, queued.key).result().params.tier for queued in found]

    assert waiting("tiny") == [Tier.EXACT]
    assert waiting("tiny/fast") == [Tier.FAST, Tier.FAST]
    assert waiting("tiny", "tiny/fast") == [Tier.FAST, Tier.EXACT, Tier.FAST]
    found = database.submit(levels.read, 0.0, 10.0).result()
    assert found.shots == {("QUEUED", "tiny"): 3}
    assert set(found.queued_since_s) == {"tiny"}


def test_a_worker_of_several_tiers_is_one_of_its_model(database: Database) -> None:
    served = frozenset({"tiny", "tiny/fast"})
    session = Session("one", "s1", "gateway", b"", served, "ACTIVE", connect_time_s=0.0)
    database.submit(workers.join, session, 0.0).result()

    assert database.submit(levels.read, 0.0, 10.0).result().workers == {("ACTIVE", "tiny"): 1}
    assert database.submit(workers.served, 0.0).result() == {"tiny": 1}
    assert database.submit(workers.taking, 0.0).result() == {"one": served}
