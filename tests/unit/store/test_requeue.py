from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, event, select

from farm.jobs.retry import RULES, Reason
from farm.jobs.states import JobState, ShotState
from farm.store import changes, claims, jobs, leases, schema
from farm.store.database import Database
from farm.store.errors import JobCancelling, NotFound, ShotNotRequeued
from farm.store.records import Job, Lease, ShotKey, Video
from farm.store.requeue import requeue_job
from tests.unit.store.conftest import create

VIDEO = Video("videos/x.mp4", "b" * 64, size_bytes=100, frame_count=14)
FAILED, CANCELLED = {ShotState.FAILED}, {ShotState.CANCELLED}


def claim(database: Database, key: ShotKey, worker: str = "w") -> Lease:
    claimed = database.submit(claims.claim, key, worker, expiry_s=30.0, now_s=1.0).result()
    assert claimed is not None
    return claimed.lease


def fail(database: Database, job: Job, number: int) -> Lease:
    """Ends a shot FAILED; returns its last lease."""
    lease = claim(database, ShotKey(job.id, number))
    assert database.submit(leases.fail, lease, Reason.PARAMS_REJECTED, "no", 2.0).result()
    return lease


def requeue(
    database: Database, job: Job, states: set[ShotState] = FAILED, *numbers: int
) -> tuple[Job, int]:
    return database.submit(requeue_job, job.id, states, set(numbers), 5.0).result()


def states(database: Database, job: Job) -> list[ShotState]:
    return [shot.state for shot in database.submit(jobs.list_shots, job.id, 100).result()]


def test_a_requeued_shot_starts_a_new_round(database: Database) -> None:
    job = create(database)
    fail(database, job, 1)
    again, n = requeue(database, job)
    assert (again.state, again.end_time_s, n) == (JobState.RUNNING, None, 1)
    shot = database.submit(jobs.get_shot, ShotKey(job.id, 1)).result()
    assert (shot.state, shot.failure, shot.worker) == (ShotState.QUEUED, None, None)
    lease = claim(database, shot.key)
    assert lease.attempt == 2
    assert database.submit(leases.succeed, lease, VIDEO, 1.0, 9.0).result()
    ended = database.submit(jobs.get_job, job.id).result()
    assert (ended.state, ended.counts.failed) == (JobState.SUCCEEDED, 0)
    assert database.submit(outcomes, shot.key).result() == ["PARAMS_REJECTED", "SUCCEEDED"]


def outcomes(conn: Connection, key: ShotKey) -> list[str | None]:
    attempt = schema.attempt
    query = select(attempt.c.outcome).where(
        attempt.c.job_id == key.job_id, attempt.c.shot_number == key.number
    )
    return list(conn.execute(query.order_by(attempt.c.number)).scalars())


def test_no_attempt_of_an_older_round_is_charged(database: Database) -> None:
    key = ShotKey(create(database).id, 1)
    limit = RULES[Reason.GPU_ERROR].attempt_limit
    for _ in range(2):
        for _ in range(limit):
            assert database.submit(jobs.get_shot, key).result().state is ShotState.QUEUED
            lease = claim(database, key)
            assert database.submit(leases.fail, lease, Reason.GPU_ERROR, "", 2.0).result()
        assert database.submit(jobs.get_shot, key).result().state is ShotState.FAILED
        database.submit(requeue_job, key.job_id, FAILED, set(), 5.0).result()
    assert database.submit(jobs.get_shot, key).result().attempt_count == 2 * limit


@pytest.mark.parametrize("claimed_again", [False, True])
def test_no_report_of_an_older_round_is_accepted(database: Database, claimed_again: bool) -> None:
    job = create(database)
    old = fail(database, job, 1)
    requeue(database, job)
    if claimed_again:
        claim(database, old.shot)
    before = database.submit(jobs.get_shot, old.shot).result()
    assert not database.submit(leases.succeed, old, VIDEO, 1.0, 9.0).result()
    assert not database.submit(leases.fail, old, Reason.INTERNAL, "late", 9.0).result()
    assert not database.submit(leases.release, old, 9.0).result()
    assert not database.submit(leases.adopt, old, "w", 99.0).result()
    assert not database.submit(leases.renew, ["w"], [old.token], 99.0).result()
    assert database.submit(jobs.get_shot, old.shot).result() == before


def test_only_failed_shots_are_requeued_unless_cancelled_ones_are_asked_for(
    database: Database,
) -> None:
    job = create(database, 3)
    fail(database, job, 1)
    database.submit(leases.succeed, claim(database, ShotKey(job.id, 2)), VIDEO, 1.0, 3.0).result()
    database.submit(jobs.cancel_job, job.id, 4.0).result()
    again, n = requeue(database, job)
    assert (again.state, n) == (JobState.RUNNING, 1)
    assert states(database, job) == [ShotState.QUEUED, ShotState.SUCCEEDED, ShotState.CANCELLED]
    again, n = requeue(database, job, FAILED | CANCELLED)
    assert (again.counts.queued, again.counts.cancelled, n) == (2, 0, 1)
    # Nothing is left of the wish to cancel it.
    assert claim(database, ShotKey(job.id, 3)).attempt == 1


def test_a_requeue_that_was_made_changes_nothing(database: Database) -> None:
    job = create(database, 2)
    fail(database, job, 1)
    requeue(database, job)
    seq = database.submit(changes.newest).result()
    assert requeue(database, job, FAILED, 1)[1] == 0
    assert requeue(database, job)[1] == 0
    claim(database, ShotKey(job.id, 1))
    moved = database.submit(changes.newest).result()
    assert requeue(database, job, FAILED, 1)[1] == 0
    assert database.submit(changes.newest).result() == moved > seq


def test_watchers_are_told_of_every_requeued_shot(database: Database) -> None:
    job = create(database, 3)
    for number in (1, 3):
        fail(database, job, number)
    seq = database.submit(changes.newest).result()
    requeue(database, job, FAILED, 3)
    seen = database.submit(changes.changes_since, job.id, seq).result()
    assert [(s.key.number, s.state) for s in seen.shots] == [(3, ShotState.QUEUED)]
    assert seen.job.counts.failed == 1


def test_named_shots_that_ended_otherwise_are_refused_and_none_is_requeued(
    database: Database,
) -> None:
    job = create(database, 3)
    fail(database, job, 1)
    database.submit(leases.succeed, claim(database, ShotKey(job.id, 2)), VIDEO, 1.0, 3.0).result()
    database.submit(jobs.cancel_job, job.id, 4.0).result()
    before = states(database, job)
    with pytest.raises(ShotNotRequeued, match="shots/2 is SUCCEEDED; allowed: CANCELLED or FAILED"):
        requeue(database, job, FAILED, 1, 2)
    with pytest.raises(ShotNotRequeued, match="shots/3 is CANCELLED; ask for"):
        requeue(database, job, FAILED, 1, 3)
    with pytest.raises(NotFound, match="shots/4"):
        requeue(database, job, FAILED, 1, 4)
    assert states(database, job) == before


def test_a_job_that_is_being_cancelled_is_not_requeued(database: Database) -> None:
    job = create(database, 2)
    fail(database, job, 1)
    lease = claim(database, ShotKey(job.id, 2))
    database.submit(jobs.cancel_job, job.id, 2.0).result()
    with pytest.raises(JobCancelling, match="when it has ended"):
        requeue(database, job)
    assert database.submit(leases.release, lease, 3.0).result()
    assert requeue(database, job, FAILED | CANCELLED)[1] == 2


def test_a_paused_job_stays_paused_and_one_that_ended_so_runs(database: Database) -> None:
    job = create(database, 2)
    fail(database, job, 1)
    database.submit(jobs.pause_job, job.id, 2.0).result()
    assert requeue(database, job)[0].state is JobState.PAUSED
    database.submit(jobs.resume_job, job.id, 3.0).result()
    fail(database, job, 1)
    lease = claim(database, ShotKey(job.id, 2))
    database.submit(jobs.pause_job, job.id, 4.0).result()
    assert database.submit(leases.succeed, lease, VIDEO, 1.0, 5.0).result()
    assert requeue(database, job)[0].state is JobState.RUNNING


def test_a_worker_that_let_go_of_a_cancelled_shot_did_not_fail_it(database: Database) -> None:
    job = create(database)
    lease = claim(database, ShotKey(job.id, 1), "innocent")
    database.submit(jobs.cancel_job, job.id, 2.0).result()
    assert database.submit(leases.release, lease, 3.0).result()
    requeue(database, job, CANCELLED)
    (queued,) = database.submit(claims.queue, ["tiny"], 10).result()
    assert queued.candidate.failed_on == frozenset()


def test_many_shots_are_cancelled_and_queued_again_in_a_few_statements(database: Database) -> None:
    job = create(database, 300)
    statements: list[str] = []

    def count(fn: Callable[[Connection], object]) -> int:
        def listening(conn: Connection) -> None:
            def note(_: object, __: object, statement: str, *rest: object) -> None:
                statements.append(statement)

            event.listen(conn, "before_cursor_execute", note)
            try:
                fn(conn)
            finally:
                event.remove(conn, "before_cursor_execute", note)

        statements.clear()
        database.submit(listening).result()
        return len(statements)

    assert count(lambda conn: jobs.cancel_job(conn, job.id, 1.0)) < 20
    states = {ShotState.CANCELLED}
    assert count(lambda conn: requeue_job(conn, job.id, states, set(), 2.0)) < 20
    told = database.submit(changes.changes_since, job.id, 0).result()
    assert len(told.shots) == 300
