"""Changes of one kind that are made by a few statements, on both databases."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select
from sqlalchemy.engine import Engine

from farm.store import claims, jobs, leases, schema
from farm.store.database import Database
from farm.store.leases import Ending
from farm.store.records import Lease, ShotKey, Video
from farm.store.together import made_by
from tests.unit.store.conftest import create

MANY = 40


@contextlib.contextmanager
def one_group(database: Database) -> Iterator[None]:
    """What is submitted meanwhile is committed together."""
    go = threading.Event()
    database.submit(lambda _: go.wait())
    try:
        yield
    finally:
        go.set()


@contextlib.contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that is run meanwhile, once however many rows it is for."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def claim(database: Database, *numbers: int, of: str) -> list[Lease]:
    wanted = {ShotKey(of, number): f"w{number}" for number in numbers}

    def run(conn: Connection) -> list[claims.Claim]:
        return claims.claim_all(conn, wanted, expiry_s=30.0, now_s=1.0)

    return [claim.lease for claim in database.submit(run).result()]


def ending(lease: Lease, version: str = "b") -> Ending:
    video = Video(f"videos/{lease.token}-{version}.mp4", version * 64, 100, 14)
    return Ending(lease, video, 1.0, 2.0)


def changes(database: Database) -> int:
    query = select(func.count()).select_from(schema.change)
    return int(database.submit(lambda conn: conn.execute(query).scalar_one()).result())


def test_many_shots_are_claimed_begun_and_ended_by_few_statements(database: Database) -> None:
    job = create(database, MANY)
    before = changes(database)
    with statements() as seen:
        held = claim(database, *range(1, MANY + 1), of=job.id)
        with one_group(database):
            begun = [database.submit(leases.start, lease, 1.5) for lease in held]
        assert [each.result() for each in begun] == [None] * MANY
        ended = database.submit(leases.succeed_all, [ending(lease) for lease in held]).result()
    assert ended == [True] * MANY
    assert len(seen) < MANY
    told = database.submit(jobs.get_job, job.id).result()
    assert (told.counts.succeeded, told.state) == (MANY, "SUCCEEDED")
    assert changes(database) == before + 2 * MANY
    attempts = database.submit(lambda conn: conn.execute(select(schema.attempt)).all()).result()
    assert {(a.start_time_s, a.end_time_s, a.outcome) for a in attempts} == {
        (1.5, 2.0, "SUCCEEDED")
    }


def test_only_those_are_claimed_that_are_still_queued(database: Database) -> None:
    job = create(database, 3)
    (first,) = claim(database, 2, of=job.id)
    others = claim(database, 1, 2, 3, of=job.id)
    assert [lease.shot.number for lease in others] == [1, 3]
    told = database.submit(jobs.get_job, job.id).result()
    assert (told.counts.queued, told.counts.rendering) == (0, 3)
    assert database.submit(leases.held_by, "w2").result() == [first]


def test_a_stale_report_among_good_ones_is_refused_alone(database: Database) -> None:
    job = create(database, 3)
    first, second, third = claim(database, 1, 2, 3, of=job.id)
    stale = Lease(second.shot, second.attempt, "of another attempt")
    # The good report of a shot may stand behind a stale one of the same shot, and come twice.
    reports = [ending(first), ending(stale, "c"), ending(second), ending(third), ending(second)]
    accepted = database.submit(leases.succeed_all, reports).result()
    assert accepted == [True, False, True, True, True]
    told = database.submit(jobs.get_job, job.id).result()
    assert (told.counts.succeeded, told.counts.rendering) == (3, 0)
    shot = database.submit(jobs.get_shot, second.shot).result()
    assert shot.video is not None
    assert shot.video.sha256 == "b" * 64


def _double_all(conn: Connection, items: Sequence[tuple[Any, ...]]) -> list[Any]:
    calls.append(len(items))
    if any(n == 13 for (n,) in items):
        raise ArithmeticError("thirteen")
    return [ValueError(n) if n < 0 else 2 * n for (n,) in items]


@made_by(_double_all)
def _double(conn: Connection, n: int) -> int:
    raise AssertionError("made by the other one")


calls: list[int] = []


def test_each_caller_hears_of_its_own(database: Database) -> None:
    calls.clear()
    with one_group(database):
        numbers = [database.submit(_double, n) for n in (1, 2)]
        between = database.submit(lambda _: "another")
        bad, last = database.submit(_double, -1), database.submit(_double, 4)
    assert [n.result() for n in numbers] == [2, 4]
    assert (between.result(), last.result()) == ("another", 8)
    with pytest.raises(ValueError, match="-1"):
        bad.result()
    assert calls == [4]


def test_where_one_breaks_all_the_others_are_made_alone(database: Database) -> None:
    calls.clear()
    with one_group(database):
        good, bad = database.submit(_double, 1), database.submit(_double, 13)
    assert good.result() == 2
    with pytest.raises(ArithmeticError):
        bad.result()
    assert calls == [2, 1, 1]
