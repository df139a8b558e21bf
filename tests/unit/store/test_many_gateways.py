"""Several gateways on one PostgreSQL: each `Database` here has connections of its own."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

import pytest
from sqlalchemy import URL, Connection, select, text

from farm.jobs.codec import Container
from farm.jobs.retry import Reason
from farm.jobs.states import FINAL_JOB_STATES, FINAL_SHOT_STATES, ShotState
from farm.store import changes, claims, inputs, jobs, leases, moves, schema
from farm.store.database import Database
from farm.store.postgres import Postgres
from farm.store.records import Lease, ShotKey, Video
from tests.postgres import PostgresServer
from tests.running import eventually
from tests.unit.store.conftest import IMAGE, create, new_job

LEASE_S = 0.05
R = TypeVar("R")


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[URL]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def gateways(url: URL) -> Iterator[list[Database]]:
    with ExitStack() as closing:
        opened = []
        for _ in range(3):
            opened.append(Database.open(Postgres(url)))
            closing.callback(opened[-1].close)
        opened[0].submit(inputs.put_image, IMAGE, 0.0).result()
        yield opened


class Chaos:
    """Workers at every gateway that claim, finish, fail, vanish and cancel as chance has it."""

    def __init__(self, url: URL, seed: int) -> None:
        self.seed = seed
        self.clock = Postgres(url).clock()
        self.handed: list[tuple[ShotKey, int]] = []
        self.succeeded: list[Lease] = []
        self.deadline = time.monotonic() + 100

    def work(self, database: Database, number: int) -> None:
        chance = random.Random(self.seed * 100 + number)
        worker = f"w{number}"
        clock = self.clock.steady_s
        while not self.is_over(database):
            assert time.monotonic() < self.deadline, "the jobs do not end"
            database.submit(leases.take_back_expired, clock(), 2.0).result()
            queued = database.submit(claims.queue, ["tiny"], 6).result()
            if not queued:
                continue
            key = chance.choice(queued).key
            claimed = database.submit(
                claims.claim, key, worker, expiry_s=clock() + LEASE_S, now_s=1.0
            ).result()
            if claimed is not None:
                self.handed.append((key, claimed.lease.attempt))
                self.end(database, claimed.lease, chance)

    def end(self, database: Database, lease: Lease, chance: random.Random) -> None:
        match chance.choice(["succeed", "succeed", "fail", "vanish", "release", "cancel"]):
            case "succeed":
                video = Video(lease.video_key("c" * 64, Container.MP4), "c" * 64, 1, 1)
                if database.submit(leases.succeed, lease, video, 1.0, 3.0).result():
                    self.succeeded.append(lease)
            case "fail":
                database.submit(leases.fail, lease, Reason.GPU_ERROR, "", 3.0).result()
            case "vanish":
                pass
            case "release":
                database.submit(leases.release, lease, 3.0).result()
            case "cancel" if chance.random() < 0.2:
                database.submit(jobs.cancel_job, lease.shot.job_id, 3.0).result()

    @staticmethod
    def is_over(database: Database) -> bool:
        known = database.submit(jobs.list_jobs, 100).result()
        return all(job.state in FINAL_JOB_STATES for job in known)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_shot_ends_once_whatever_the_gateways_do(
    gateways: list[Database], url: URL, seed: int
) -> None:
    made = [create(gateways[n % 3], 8) for n in range(5)]
    chaos = Chaos(url, seed)
    with ThreadPoolExecutor(7) as threads:
        seen = [threads.submit(follow, gateways[2], job.id) for job in made[:1]]
        work = [threads.submit(chaos.work, gateways[n % 3], n) for n in range(6)]
        for thread in work:
            thread.result()
    assert max(Counter(chaos.handed).values()) == 1
    assert max(Counter(lease.shot for lease in chaos.succeeded).values()) == 1
    for job in made:
        shots = gateways[0].submit(jobs.list_shots, job.id, 100).result()
        states = Counter(shot.state for shot in shots)
        assert set(states) <= FINAL_SHOT_STATES
        counts = gateways[1].submit(jobs.get_job, job.id).result().counts
        assert (counts.queued, counts.rendering) == (0, 0)
        assert counts.succeeded == states[ShotState.SUCCEEDED]
        assert counts.failed == states[ShotState.FAILED]
        assert counts.cancelled == states[ShotState.CANCELLED]
        for shot in shots:
            attempts = gateways[0].submit(attempts_of, shot.key).result()
            assert [number for number, _ in attempts] == list(range(1, shot.attempt_count + 1))
            assert sum((shot.key, n) in chaos.handed for n, _ in attempts) == len(attempts)
            assert all(outcome is not None for _, outcome in attempts)
            endings = [lease.attempt for lease in chaos.succeeded if lease.shot == shot.key]
            assert endings == ([shot.attempt_count] if shot.video else [])
    told = seen[0].result()
    shots = gateways[0].submit(jobs.list_shots, made[0].id, 100).result()
    assert told == {shot.key.number: shot.state for shot in shots}


def attempts_of(conn: Connection, key: ShotKey) -> list[tuple[int, str | None]]:
    attempt = schema.attempt
    rows = conn.execute(
        select(attempt.c.number, attempt.c.outcome)
        .where(attempt.c.job_id == key.job_id, attempt.c.shot_number == key.number)
        .order_by(attempt.c.number)
    )
    return [(row.number, row.outcome) for row in rows]


def follow(database: Database, job_id: str) -> dict[int, ShotState]:
    """What a watcher was told last of each shot that changed, when its job has ended."""
    told: dict[int, ShotState] = {}
    seq = 0
    while True:
        seen = read(database, changes.changes_since, job_id, seq)
        told |= {shot.key.number: shot.state for shot in seen.shots}
        seq = seen.seq
        if seen.job.state in FINAL_JOB_STATES and not seen.more:
            return told


def test_the_change_log_is_committed_in_its_order(gateways: list[Database], url: URL) -> None:
    job = create(gateways[0])
    start = gateways[0].submit(changes.newest).result()
    begun, gate = threading.Event(), threading.Event()

    def slow(conn: Connection) -> None:
        moves.record_change(conn, job.id, 1)
        begun.set()
        assert gate.wait(4)

    early = gateways[0].submit(slow)
    assert begun.wait(4)
    late = gateways[1].submit(moves.record_change, job.id, 1)
    eventually(lambda: read(gateways[2], waiting_for_the_lock) == 1)
    assert read(gateways[2], changes.newest) == start  # nothing behind the gap is visible
    gate.set()
    early.result()
    late.result()
    assert read(gateways[2], changes.newest) == start + 2


def waiting_for_the_lock(conn: Connection) -> int:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    query += " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    return int(conn.execute(text(query)).scalar_one())


def test_a_frozen_gateway_holds_the_others_up_for_a_moment_only(url: URL) -> None:
    with ExitStack() as closing:
        frozen = Database.open(Postgres(url, idle_limit_s=1))
        closing.callback(frozen.close)
        other = Database.open(Postgres(url))
        closing.callback(other.close)
        other.submit(inputs.put_image, IMAGE, 0.0).result()
        gate = threading.Event()
        closing.callback(gate.set)

        def freeze(conn: Connection) -> None:
            jobs.create_job(conn, new_job(request_id="frozen"), 0.0)
            assert gate.wait(30)

        stuck = frozen.submit(freeze)
        eventually(lambda: read(other, waiting_or_held) == 1)
        made = other.submit(jobs.create_job, new_job(), 0.0).result(timeout=10)
        gate.set()
        stuck.result(timeout=10)
        first, second = other.submit(jobs.list_jobs, 10).result()
        assert second == made
        assert first.number > second.number


def waiting_or_held(conn: Connection) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    query += " AND datname = current_database()"
    return int(conn.execute(text(query)).scalar_one())


def test_only_the_first_gateway_renews_what_leases_there_are(url: URL) -> None:
    renewed: list[str] = []

    def opened(name: str) -> Database:
        return Database.open(Postgres(url), lambda _: renewed.append(name))

    first = opened("first")
    second = opened("second")
    first.close()
    third = opened("third")
    second.close()
    third.close()
    opened("fourth").close()
    assert renewed == ["first", "fourth"]


def test_gateways_that_start_at_once_migrate_once(postgres: PostgresServer) -> None:
    with postgres.database(template="template0") as url, ThreadPoolExecutor(4) as threads:
        starts = [threads.submit(lambda: Database.open(Postgres(url))) for _ in range(4)]
        for start in starts:
            start.result().close()


def test_a_gateway_hears_what_another_changes(gateways: list[Database]) -> None:
    heard, own = listen(gateways[1]), listen(gateways[0])
    job = create(gateways[0])
    eventually(lambda: job.id in heard, timeout_s=2)
    assert job.id not in own


def test_a_listener_that_lost_its_connection_hears_again(
    gateways: list[Database], url: URL, postgres: PostgresServer
) -> None:
    heard = listen(gateways[1])
    end_listeners(postgres, url)
    eventually(lambda: heard.count(None) == 2)  # it cannot tell what goes by; it is back
    job = create(gateways[0])
    eventually(lambda: job.id in heard)


def test_a_gateway_that_cannot_listen_looks_every_second(
    gateways: list[Database], url: URL, postgres: PostgresServer
) -> None:
    heard = listen(gateways[1])
    postgres.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false")
    end_listeners(postgres, url)
    eventually(lambda: None in heard)
    heard.clear()
    create(gateways[0])
    eventually(lambda: None in heard, timeout_s=5)


def listen(database: Database) -> list[str | None]:
    """What a gateway hears, as it comes."""
    heard: list[str | None] = []
    database.on_news = lambda ids: heard.extend([None] if ids is None else ids)
    return heard


def end_listeners(postgres: PostgresServer, url: URL) -> None:
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = %s AND query LIKE 'LISTEN%%'",
        url.database,
    )


def read(database: Database, fn: Callable[..., R], *args: object) -> R:
    """`Database.read` without a loop."""
    return asyncio.run(database.read(fn, *args))
