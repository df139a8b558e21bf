from __future__ import annotations

from collections.abc import Callable

import pytest

from farm.jobs.retry import Reason
from farm.jobs.states import JobState, ShotState, Wish
from farm.store import changes, claims, jobs, leases
from farm.store.database import Database
from farm.store.errors import JobCancelling
from farm.store.records import Job, ShotKey, Video
from tests.unit.store.conftest import create

VIDEO = Video("videos/x.mp4", "b" * 64, size_bytes=100, frame_count=14)


def claim(database: Database, key: ShotKey) -> claims.Claim | None:
    return database.submit(claims.claim, key, "w", expiry_s=30.0, now_s=1.0).result()


def pause(database: Database, job: Job) -> Job:
    return database.submit(jobs.pause_job, job.id, 2.0).result()


def resume(database: Database, job: Job) -> Job:
    return database.submit(jobs.resume_job, job.id, 3.0).result()


def test_nothing_of_a_paused_job_is_claimed_until_it_is_resumed(database: Database) -> None:
    job = create(database, 2)
    assert pause(database, job).state is JobState.PAUSED
    assert database.submit(claims.queue, ["tiny"], 10).result() == []
    # Also where the queue was read before the pause.
    assert claim(database, ShotKey(job.id, 1)) is None
    assert resume(database, job).state is JobState.QUEUED
    assert claim(database, ShotKey(job.id, 1)) is not None


def test_a_shot_that_renders_when_its_job_is_paused_finishes(database: Database) -> None:
    job = create(database, 2)
    claimed = claim(database, ShotKey(job.id, 1))
    assert claimed is not None
    assert pause(database, job).state is JobState.PAUSED
    wishes = database.submit(leases.wishes, {"w"}).result()
    assert wishes == {claimed.lease.token: Wish.PAUSE}
    assert database.submit(leases.succeed, claimed.lease, VIDEO, 1.0, 4.0).result()
    assert database.submit(jobs.get_job, job.id).result().state is JobState.PAUSED
    assert resume(database, job).state is JobState.RUNNING


def test_a_lost_shot_of_a_paused_job_waits(database: Database) -> None:
    job = create(database)
    claimed = claim(database, ShotKey(job.id, 1))
    assert claimed is not None
    pause(database, job)
    assert database.submit(leases.fail, claimed.lease, Reason.WORKER_LOST, "", 4.0).result()
    shot = database.submit(jobs.get_shot, claimed.lease.shot).result()
    assert shot.state is ShotState.QUEUED
    assert claim(database, shot.key) is None


def test_watchers_are_told_of_pause_and_resume_once(database: Database) -> None:
    job = create(database)
    seq = database.submit(changes.newest).result()
    for act in (pause, pause, resume, resume):
        act(database, job)
    assert database.submit(changes.newest).result() == seq + 2


def test_a_paused_job_can_be_cancelled(database: Database) -> None:
    job = create(database)
    pause(database, job)
    cancelled, _ = database.submit(jobs.cancel_job, job.id, 4.0).result()
    assert cancelled.state is JobState.CANCELLED
    # It has ended: there is nothing to pause or to go on with.
    assert pause(database, job) == resume(database, job) == cancelled


@pytest.mark.parametrize("act", [pause, resume])
def test_a_job_that_is_being_cancelled_stays_so(
    database: Database, act: Callable[[Database, Job], Job]
) -> None:
    job = create(database)
    assert claim(database, ShotKey(job.id, 1))
    database.submit(jobs.cancel_job, job.id, 2.0).result()
    with pytest.raises(JobCancelling, match="CANCELLING"):
        act(database, job)
