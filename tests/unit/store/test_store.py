from __future__ import annotations

import asyncio
import dataclasses
import errno
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select, update

from farm.jobs.retry import Reason
from farm.jobs.states import JobState
from farm.store import changes, claims, deletion, inputs, jobs, leases, moves, schema
from farm.store.backend import Backend
from farm.store.database import Database
from farm.store.errors import (
    NotFound,
    RequestConflict,
    StoreAway,
    StoreLocked,
    StoreTooNew,
    is_disk_full,
)
from farm.store.records import Job, NewJob, ShotKey
from farm.store.sqlite import Sqlite
from farm.store.store import Store
from tests.unit.store.conftest import IMAGE, create, new_job


def test_migrations_make_the_tables_of_the_schema(backend: Backend, database: Database) -> None:
    engine = backend.reader(1)
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_commits_to_sqlite_are_durable_and_immediate(tmp_path: Path) -> None:
    def pragmas(conn: Connection) -> tuple[object, ...]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return tuple(conn.exec_driver_sql(f"PRAGMA {n}").scalar() for n in names)

    database = Database.open(Sqlite(tmp_path / "farm.db"))
    assert database.submit(pragmas).result() == ("wal", 2, 1)
    database.close()


def test_a_database_of_a_newer_version_is_refused(backend: Backend) -> None:
    become_newer(backend, oldest_revision="9998")
    with pytest.raises(StoreTooNew, match="at revision 9999, which asks for revision 9998"):
        Database.open(backend)


def test_a_newer_version_that_only_added_is_worked_with(backend: Backend) -> None:
    become_newer(backend, oldest_revision="0002")
    database = Database.open(backend)
    assert database.submit(jobs.list_jobs, 10).result() == []
    database.close()


def become_newer(backend: Backend, oldest_revision: str) -> None:
    """What a migration of a version to come leaves behind."""

    def migrate(conn: Connection) -> None:
        conn.execute(update(schema.compatibility).values(oldest_revision=oldest_revision))
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    database = Database.open(backend)
    database.submit(migrate).result()
    database.close()


def test_an_older_database_is_migrated(backend: Backend) -> None:
    def become_older(conn: Connection) -> None:
        schema.compatibility.drop(conn)
        schema.delivery.drop(conn)
        schema.deletion.drop(conn)
        schema.farm.drop(conn)
        schema.worker.drop(conn)
        schema.tenant.drop(conn)
        schema.image_owner.drop(conn)
        schema.gpu_use.drop(conn)
        schema.token.drop(conn)
        for index in ("ix_job_tenant", "ix_shot_tenant_queue", "ix_shot_tenant_video"):
            conn.exec_driver_sql(f"DROP INDEX {index}")
        for table in ("job", "shot"):
            conn.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN tenant")
        conn.exec_driver_sql("ALTER TABLE job DROP COLUMN webhook")
        conn.exec_driver_sql("ALTER TABLE image DROP COLUMN want_time_s")
        conn.exec_driver_sql("DROP INDEX ix_shot_cache_key")
        conn.exec_driver_sql("DROP INDEX ix_shot_video_key")
        for column in ("cache_key", "cached_from"):
            conn.exec_driver_sql(f"ALTER TABLE shot DROP COLUMN {column}")
        conn.exec_driver_sql("ALTER TABLE model DROP COLUMN identity")
        conn.exec_driver_sql("DROP INDEX ix_shot_image_sha256")
        conn.exec_driver_sql("DROP INDEX ix_attempt_worker")
        conn.exec_driver_sql("ALTER TABLE attempt DROP COLUMN start_time_s")
        conn.exec_driver_sql("ALTER TABLE attempt DROP COLUMN message")
        conn.exec_driver_sql("ALTER TABLE shot DROP COLUMN memory_profile")
        conn.exec_driver_sql("ALTER TABLE shot DROP COLUMN gateway")
        conn.exec_driver_sql("ALTER TABLE shot DROP COLUMN wish")
        for column in ("queue_time_s", "traceparent", "trace_time_s"):
            conn.exec_driver_sql(f"ALTER TABLE shot DROP COLUMN {column}")
        conn.exec_driver_sql("ALTER TABLE attempt DROP COLUMN log")
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")

    database = Database.open(backend)
    job = create_first(database)
    database.submit(become_older).result()
    database.close()
    database = Database.open(backend)
    assert database.submit(jobs.list_jobs, 10).result() == [job]
    oldest = select(schema.compatibility.c.oldest_revision)
    assert database.submit(lambda conn: conn.execute(oldest).scalar_one()).result() == "0007"
    database.close()


def create_first(database: Database) -> Job:
    database.submit(inputs.put_image, IMAGE, 0.0).result()
    return create(database)


def test_a_second_gateway_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with pytest.raises(StoreLocked, match="another gateway"):
        Store.open(tmp_path)
    store.close()
    Store.open(tmp_path).close()


def test_a_full_disk_is_told_in_words_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.mkdir", no_space)
    with pytest.raises(StoreAway, match="is full: free space there"):
        Store.open(tmp_path)


def test_one_failing_change_does_not_undo_its_neighbours(database: Database) -> None:
    def broken(conn: Connection) -> None:
        jobs.create_job(conn, new_job(), 0.0)
        raise ValueError("on purpose")

    async def run() -> list[object]:
        return await asyncio.gather(
            database.write(jobs.create_job, new_job(), 0.0),
            database.write(broken),
            database.write(jobs.create_job, new_job(), 0.0),
            return_exceptions=True,
        )

    _, failed, _ = asyncio.run(run())
    assert isinstance(failed, ValueError)
    assert len(database.submit(jobs.list_jobs, 10).result()) == 2


def test_a_full_disk_loses_no_neighbour(tmp_path: Path) -> None:
    database = Database.open(Sqlite(tmp_path / "farm.db"))
    database.submit(inputs.put_image, IMAGE, 0.0).result()
    job = create(database)
    cancelled = database.submit(jobs.cancel_job, job.id, 1.0).result()[0]

    def leave_no_room(conn: Connection) -> None:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def too_much(conn: Connection) -> None:
        for _ in range(9000):
            moves.record_change(conn, job.id, None)

    gate = threading.Event()
    database.submit(leave_no_room).result()
    first = database.submit(lambda _: gate.wait())  # meanwhile the others form one group
    before = database.submit(jobs.create_job, new_job(request_id="r"), 0.0)
    big = database.submit(too_much)
    after = database.submit(deletion.delete_job, cancelled.id, unwanted_since_s=-1.0)
    gate.set()
    assert first.result()
    assert is_disk_full(big.exception())
    assert after.result() == set()
    assert database.submit(jobs.list_jobs, 10).result() == [before.result()]
    database.close()


def test_only_a_job_that_is_there_is_updated(database: Database) -> None:
    with pytest.raises(NotFound):
        database.submit(jobs.update_job, "nowhere", priority=7).result()


def test_same_request_id_gives_the_same_job(database: Database) -> None:
    new = new_job(request_id="r1")
    first = database.submit(jobs.create_job, new, 0.0).result()
    assert database.submit(jobs.create_job, new, 5.0).result() == first
    other = NewJob("other", 0, new.shots, "r1", request_sha256="1" * 64)
    with pytest.raises(RequestConflict, match=first.id):
        database.submit(jobs.create_job, other, 5.0).result()


def test_a_job_with_an_unknown_image_leaves_nothing_behind(database: Database) -> None:
    new = new_job(3)
    bad = NewJob(
        "x",
        0,
        (*new.shots, dataclasses.replace(new.shots[0], image_sha256="f" * 64)),
        None,
        "0" * 64,
    )
    with pytest.raises(NotFound, match="images/ffff"):
        database.submit(jobs.create_job, bad, 0.0).result()
    assert database.submit(jobs.list_jobs, 10).result() == []


def test_jobs_are_listed_newest_first_in_pages(database: Database) -> None:
    made = [create(database) for _ in range(5)]
    page = database.submit(jobs.list_jobs, 2).result()
    assert [j.id for j in page] == [made[4].id, made[3].id]
    page = database.submit(jobs.list_jobs, 2, page[-1].number).result()
    assert [j.id for j in page] == [made[2].id, made[1].id]


def test_changes_tell_what_moved_since(database: Database) -> None:
    job = create(database, 3)
    start = database.submit(changes.snapshot, job.id).result()
    assert [s.key.number for s in start.shots] == [1, 2, 3]
    assert database.submit(changes.changes_since, job.id, start.seq).result().shots == []
    database.submit(claims.claim, ShotKey(job.id, 2), "w", expiry_s=1.0, now_s=0.0).result()
    seen = database.submit(changes.changes_since, job.id, start.seq).result()
    assert [s.key.number for s in seen.shots] == [2]
    assert seen.job.state is JobState.RUNNING
    assert database.submit(changes.changes_since, job.id, seen.seq).result().shots == []


def test_a_new_priority_moves_what_waits_and_tells_the_watchers(database: Database) -> None:
    first, second = create(database, 3), create(database)
    key = ShotKey(first.id, 1)
    claimed = database.submit(claims.claim, key, "w", expiry_s=9.0, now_s=1.0).result()
    assert claimed is not None
    seq = database.submit(changes.newest).result()
    updated = database.submit(jobs.update_job, second.id, priority=7).result()
    assert (updated.priority, updated.display_name) == (7, "a job")
    assert database.submit(changes.newest).result() == seq + 1
    queued = database.submit(claims.queue, ["tiny"], 10).result()
    assert [q.key.job_id for q in queued] == [second.id, first.id, first.id]
    # A shot that rendered meanwhile and is queued again has it too.
    database.submit(jobs.update_job, first.id, priority=8, display_name="new").result()
    database.submit(leases.fail, claimed.lease, Reason.WORKER_LOST, "", 3.0).result()
    queued = database.submit(claims.queue, ["tiny"], 10).result()
    assert queued[0].key == key
    assert database.submit(jobs.get_job, first.id).result().display_name == "new"
