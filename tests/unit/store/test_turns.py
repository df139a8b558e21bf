"""The queue of several tenants, claimed in turns, on every database."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from sqlalchemy import event

from farm.gateway.claiming import claim_for
from farm.jobs.schedule import WorkerView
from farm.jobs.tenants import Tenant
from farm.store import inputs, jobs, tenants
from farm.store.claims import Claim
from farm.store.database import Database
from farm.store.records import Job
from tests.unit.store.conftest import IMAGE, new_job


def idle(count: int, model: str = "tiny", *, start: int = 0) -> list[WorkerView]:
    models = frozenset({model})
    return [WorkerView(f"w{n}", models, idle=True) for n in range(start, start + count)]


def add(database: Database, name: str, weight: float = 1.0) -> None:
    database.submit(tenants.create, Tenant(name, weight=weight), 0.0).result()
    database.submit(inputs.put_image, IMAGE, 0.0, tenant=name).result()


def create(database: Database, tenant: str, shot_count: int, *, priority: int = 0) -> Job:
    new = dataclasses.replace(new_job(shot_count, priority=priority), tenant=tenant)
    return database.submit(jobs.create_job, new, 0.0, sees=tenant).result()


def claim(database: Database, free: list[WorkerView]) -> list[Claim]:
    return database.submit(claim_for, free, lambda: free, 9.0, 0.0, 0.0, "here").result()


def served(database: Database, claimed: list[Claim]) -> Counter[str]:
    def owners(conn: object) -> Counter[str]:
        ids = [made.lease.shot.job_id for made in claimed]
        return Counter(jobs.get_job(conn, job_id).tenant for job_id in ids)  # type: ignore[arg-type]

    return database.submit(owners).result()


def test_a_flood_leaves_the_others_their_parts(database: Database) -> None:
    for name, weight in {"a": 1.0, "b": 2.0, "c": 4.0}.items():
        add(database, name, weight)
    create(database, "a", 300, priority=100)
    create(database, "b", 60)
    create(database, "c", 60)
    one_by_one: Counter[str] = Counter()
    for n in range(42):
        one_by_one += served(database, claim(database, idle(1, start=n)))
    assert one_by_one == {"a": 6, "b": 12, "c": 24}
    at_once = served(database, claim(database, idle(42, start=100)))
    assert at_once == {"a": 6, "b": 12, "c": 24}


def test_priority_and_age_hold_within_a_tenant(database: Database) -> None:
    add(database, "a")
    create(database, "a", 1)
    urgent = create(database, "a", 1, priority=9)
    create(database, "default", 1)
    claimed = claim(database, idle(2))
    assert served(database, claimed) == {"a": 1, "default": 1}
    assert urgent.id in {made.lease.shot.job_id for made in claimed}


def test_who_was_away_gets_no_more_than_its_part(database: Database) -> None:
    for name in ("a", "b", "c"):
        add(database, name)
        create(database, name, 40 if name != "c" else 1)
    claim(database, idle(1, start=900))
    for n in range(30):
        claim(database, idle(1, start=n))
    create(database, "c", 40)
    assert served(database, claim(database, idle(9, start=100))) == {"a": 3, "b": 3, "c": 3}


def test_a_worker_whose_model_few_want_finds_them_behind_many_others(database: Database) -> None:
    for n in range(8):
        add(database, f"t{n}")
        create(database, f"t{n}", 2)
    add(database, "z")
    new = new_job(1)
    other = dataclasses.replace(new.shots[0].params, model="other")
    shots = (dataclasses.replace(new.shots[0], params=other),)
    wanted = dataclasses.replace(new, tenant="z", shots=shots)
    database.submit(jobs.create_job, wanted, 0.0, sees="z").result()
    claimed = claim(database, [*idle(1), *idle(1, "other", start=1)])
    assert served(database, claimed) == {"t0": 1, "z": 1}


def test_paused_jobs_and_other_models_take_no_turns(database: Database) -> None:
    add(database, "a")
    paused = create(database, "a", 1)
    database.submit(jobs.pause_job, paused.id, 0.0).result()
    create(database, "default", 5)
    assert served(database, claim(database, idle(2))) == {"default": 2}


def test_a_heavier_weight_counts_from_now_on(database: Database) -> None:
    add(database, "a", 0.001)
    create(database, "a", 40)
    create(database, "default", 40)
    assert served(database, claim(database, idle(10))) == {"a": 1, "default": 9}
    database.submit(tenants.change, Tenant("a", weight=1.0)).result()
    assert served(database, claim(database, idle(20, start=50)))["a"] >= 9


@pytest.mark.parametrize("shot_count", [0, 1, 10])
def test_a_lone_tenant_costs_one_more_query(database: Database, shot_count: int) -> None:
    if shot_count:
        create(database, "default", shot_count)
    statements: list[str] = []
    engine = database._writer._engine
    event.listen(engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    claim(database, idle(2))
    asked = [statement for statement in statements if "tenant" in statement.partition("FROM")[2]]
    assert sum("served_turn" in statement for statement in asked) == 1
    assert not any(statement.startswith("UPDATE tenant") for statement in statements)
