"""Single shots of a job that are cancelled, in both databases."""

from __future__ import annotations

import pytest

from farm.jobs.retry import Reason
from farm.jobs.states import JobState, ShotState, Wish
from farm.store import changes, claims, jobs, leases
from farm.store.database import Database
from farm.store.errors import NotFound, ShotNotRequeued
from farm.store.records import HeldLease, Job, Lease, ShotKey, Video
from farm.store.requeue import requeue_job
from tests.unit.store.conftest import create

VIDEO = Video("videos/x.mp4", "b" * 64, size_bytes=100, frame_count=14)
Q, R, S, F, C = (
    ShotState.QUEUED,
    ShotState.RENDERING,
    ShotState.SUCCEEDED,
    ShotState.FAILED,
    ShotState.CANCELLED,
)


def claim(database: Database, job: Job, number: int) -> Lease:
    key = ShotKey(job.id, number)
    claimed = database.submit(claims.claim, key, "w", expiry_s=30.0, now_s=1.0).result()
    assert claimed is not None
    return claimed.lease


def cancel(database: Database, job: Job, *numbers: int) -> tuple[Job, list[HeldLease]]:
    return database.submit(jobs.cancel_job, job.id, 3.0, set(numbers)).result()


def succeed(database: Database, lease: Lease) -> bool:
    return database.submit(leases.succeed, lease, VIDEO, 1.0, 5.0).result()


def states(database: Database, job: Job) -> list[ShotState]:
    return [shot.state for shot in database.submit(jobs.list_shots, job.id, 100).result()]


def state(database: Database, job: Job) -> JobState:
    return database.submit(jobs.get_job, job.id).result().state


def test_a_queued_shot_ends_at_once_and_the_others_go_on(database: Database) -> None:
    job = create(database, 3)
    after, held = cancel(database, job, 2)
    assert (after.state, after.counts.cancelled, held) == (JobState.QUEUED, 1, [])
    assert states(database, job) == [Q, C, Q]
    key = ShotKey(job.id, 2)
    assert database.submit(claims.claim, key, "w", expiry_s=9.0, now_s=1.0).result() is None
    for number in (1, 3):
        assert succeed(database, claim(database, job, number))
    assert state(database, job) is JobState.SUCCEEDED


def test_a_rendering_shot_ends_when_its_device_lets_go(database: Database) -> None:
    job = create(database, 2)
    lease = claim(database, job, 1)
    after, held = cancel(database, job, 1)
    assert held == [HeldLease(lease, "w")]
    assert after.state is JobState.RUNNING
    assert database.submit(leases.wishes, ["w"]).result() == {lease.token: Wish.CANCEL}
    assert database.submit(leases.release, lease, 4.0).result()
    assert states(database, job) == [C, Q]
    assert state(database, job) is JobState.RUNNING


def test_a_shot_beside_it_is_not_let_go(database: Database) -> None:
    job = create(database, 2)
    bad, good = claim(database, job, 1), claim(database, job, 2)
    cancel(database, job, 1)
    wishes = database.submit(leases.wishes, ["w"]).result()
    assert wishes == {bad.token: Wish.CANCEL, good.token: Wish.RUN}
    assert database.submit(leases.adopt, good, "w", 90.0).result()
    assert database.submit(leases.release, good, 4.0).result()  # its worker hands it back
    assert states(database, job) == [R, Q]


def test_a_success_that_was_faster_stays(database: Database) -> None:
    job = create(database)
    lease = claim(database, job, 1)
    cancel(database, job, 1)
    assert succeed(database, lease)
    assert not database.submit(leases.release, lease, 6.0).result()
    assert (states(database, job), state(database, job)) == ([S], JobState.SUCCEEDED)
    assert cancel(database, job, 1) == (database.submit(jobs.get_job, job.id).result(), [])


def test_a_success_that_was_slower_is_refused(database: Database) -> None:
    job = create(database)
    lease = claim(database, job, 1)
    cancel(database, job, 1)
    assert database.submit(leases.release, lease, 4.0).result()
    assert not succeed(database, lease)
    assert (states(database, job), state(database, job)) == ([C], JobState.CANCELLED)


@pytest.mark.parametrize("ending", ["fails", "is lost", "comes back"])
def test_a_cancelled_shot_whose_attempt_ends_otherwise_is_not_tried_again(
    database: Database, ending: str
) -> None:
    job = create(database, 2)
    lease = claim(database, job, 1)
    cancel(database, job, 1)
    match ending:
        case "fails":
            assert database.submit(leases.fail, lease, Reason.GPU_ERROR, "x", 4.0).result()
        case "is lost":  # as where its gateway is away
            database.submit(leases.take_back_expired, 30.0, 30.0).result()
        case "comes back":  # its worker is to let go, at whichever gateway it is
            assert not database.submit(leases.adopt, lease, "w", 90.0, "another").result()
            assert database.submit(leases.release, lease, 4.0).result()
    assert states(database, job) == [C, Q]


def test_every_gateway_is_told_of_a_cancelled_shot_that_renders(database: Database) -> None:
    told: list[set[str]] = []
    job = create(database, 2)
    claim(database, job, 1)
    database.on_commit = told.append  # what is announced to the others as well
    cancel(database, job, 1)
    assert told == [{job.id}]


def test_watchers_see_the_shots_that_ended(database: Database) -> None:
    job = create(database, 3)
    seq = database.submit(changes.newest).result()
    cancel(database, job, 1, 3)
    seen = database.submit(changes.changes_since, job.id, seq).result()
    assert [(s.key.number, s.state) for s in seen.shots] == [(1, C), (3, C)]
    assert seen.job.counts.cancelled == 2


def test_a_cancelled_shot_is_rendered_again_when_it_is_requeued(database: Database) -> None:
    job = create(database, 2)
    lease = claim(database, job, 1)
    cancel(database, job, 1)
    with pytest.raises(ShotNotRequeued, match="shots/1 is being cancelled; requeue it when"):
        database.submit(requeue_job, job.id, {C}, {1}, 4.0).result()
    assert database.submit(leases.release, lease, 4.0).result()
    assert database.submit(requeue_job, job.id, {C}, {1}, 4.0).result()[1] == 1
    again = claim(database, job, 1)
    assert database.submit(leases.wishes, ["w"]).result() == {again.token: Wish.RUN}
    # Nothing is left of the wish: an attempt that fails is followed by another one.
    assert database.submit(leases.fail, again, Reason.GPU_ERROR, "x", 5.0).result()
    assert states(database, job) == [Q, Q]


def test_a_shot_that_is_not_there_is_refused_and_none_is_cancelled(database: Database) -> None:
    job = create(database, 2)
    with pytest.raises(NotFound, match="shots/3"):
        cancel(database, job, 1, 3, 4)
    assert states(database, job) == [Q, Q]


def test_what_has_ended_stays_as_it_is(database: Database) -> None:
    job = create(database, 3)
    succeed(database, claim(database, job, 1))
    lease = claim(database, job, 2)
    database.submit(leases.fail, lease, Reason.PARAMS_REJECTED, "no", 2.0).result()
    cancel(database, job, 1, 2, 3)
    cancel(database, job, 3)
    assert states(database, job) == [S, F, C]
    assert state(database, job) is JobState.FAILED


def test_a_paused_job_is_cancelled_shot_by_shot(database: Database) -> None:
    job = create(database, 2)
    database.submit(jobs.pause_job, job.id, 2.0).result()
    assert cancel(database, job, 1)[0].state is JobState.PAUSED
    assert cancel(database, job, 2)[0].state is JobState.CANCELLED
