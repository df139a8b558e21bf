from __future__ import annotations

from collections.abc import Callable

import pytest

from farm.jobs.retry import RULES, UNSTARTED_LIMIT, MemoryProfile, Reason
from farm.jobs.states import JobState, ShotState
from farm.store import claims, jobs, leases
from farm.store.claims import Claim
from farm.store.database import Database
from farm.store.records import Lease, ShotKey, Video
from farm.store.requeue import requeue_job
from tests.unit.store.conftest import create

VIDEO = Video("videos/x.mp4", "b" * 64, size_bytes=100, frame_count=14)


def claim(database: Database, key: ShotKey, worker: str = "w1") -> Claim:
    claimed = database.submit(claims.claim, key, worker, expiry_s=30.0, now_s=1.0).result()
    assert claimed is not None
    return claimed


def shot_state(database: Database, key: ShotKey) -> ShotState:
    return database.submit(jobs.get_shot, key).result().state


def test_claim_counts_the_attempt_and_starts_the_job(database: Database) -> None:
    job = create(database)
    claimed = claim(database, ShotKey(job.id, 1))
    assert claimed.lease.attempt == 1
    assert claimed.shot.worker == "w1"
    after = database.submit(jobs.get_job, job.id).result()
    assert (after.state, after.start_time_s) == (JobState.RUNNING, 1.0)


def test_a_shot_is_claimed_once(database: Database) -> None:
    key = ShotKey(create(database).id, 1)
    claim(database, key)
    assert database.submit(claims.claim, key, "w2", expiry_s=1.0, now_s=1.0).result() is None


def test_success_ends_shot_and_job(database: Database) -> None:
    job = create(database)
    lease = claim(database, ShotKey(job.id, 1)).lease
    assert database.submit(leases.succeed, lease, VIDEO, 2.0, 9.0).result()
    after = database.submit(jobs.get_job, job.id).result()
    assert (after.state, after.end_time_s) == (JobState.SUCCEEDED, 9.0)
    assert database.submit(jobs.get_shot, lease.shot).result().video == VIDEO


STALE: list[Callable[[Lease], Lease]] = [
    lambda lease: Lease(lease.shot, lease.attempt, "another token"),
    lambda lease: Lease(lease.shot, lease.attempt + 1, lease.token),
    lambda lease: Lease(ShotKey(lease.shot.job_id, 2), lease.attempt, lease.token),
]


@pytest.mark.parametrize("forge", STALE)
def test_a_report_with_another_lease_is_refused(
    database: Database, forge: Callable[[Lease], Lease]
) -> None:
    job = create(database, 2)
    lease = claim(database, ShotKey(job.id, 1)).lease
    forged = forge(lease)
    assert not database.submit(leases.succeed, forged, VIDEO, 2.0, 9.0).result()
    assert not database.submit(leases.fail, forged, Reason.INTERNAL, "no", 9.0).result()
    assert not database.submit(leases.release, forged, 9.0).result()
    assert not database.submit(leases.adopt, forged, "w1", 9.0).result()
    assert shot_state(database, lease.shot) is ShotState.RENDERING


def test_lost_worker_requeues_its_shot_and_may_not_report(database: Database) -> None:
    key = ShotKey(create(database).id, 1)
    lost = claim(database, key).lease
    assert database.submit(leases.take_back_expired, 29.9, 29.9).result() == []
    taken = database.submit(leases.take_back_expired, 30.0, 30.0).result()
    assert [(held.lease, state) for held, state in taken] == [(lost, ShotState.QUEUED)]
    assert shot_state(database, key) is ShotState.QUEUED
    assert not database.submit(leases.succeed, lost, VIDEO, 2.0, 31.0).result()
    again = claim(database, key, "w2").lease
    assert again.attempt == 2
    assert not database.submit(leases.succeed, lost, VIDEO, 2.0, 32.0).result()
    assert database.submit(leases.succeed, again, VIDEO, 2.0, 33.0).result()


def test_renewed_lease_does_not_expire(database: Database) -> None:
    key = ShotKey(create(database).id, 1)
    lease = claim(database, key).lease
    assert database.submit(leases.renew, ["w1"], [lease.token], 60.0).result() == {lease.token}
    assert database.submit(leases.renew, ["w1"], ["another"], 90.0).result() == set()
    assert database.submit(leases.renew, ["w2"], [lease.token], 90.0).result() == set()
    assert database.submit(leases.take_back_expired, 59.0, 59.0).result() == []


def test_the_same_report_again_is_accepted_and_changes_nothing(database: Database) -> None:
    key = ShotKey(create(database).id, 1)
    lease = claim(database, key).lease
    assert database.submit(leases.succeed, lease, VIDEO, 2.0, 9.0).result()
    assert database.submit(leases.succeed, lease, VIDEO, 2.0, 10.0).result()
    other = Video(VIDEO.key, "c" * 64, 1, 1)
    assert not database.submit(leases.succeed, lease, other, 2.0, 10.0).result()
    assert database.submit(jobs.get_shot, key).result().video == VIDEO


@pytest.mark.parametrize("reason", [r for r in Reason if RULES[r].charged])
def test_retry_rule_bounds_the_attempts(database: Database, reason: Reason) -> None:
    key = ShotKey(create(database).id, 1)
    steps_down = 2 if reason is Reason.OUT_OF_MEMORY else 0
    for attempt in range(1, RULES[reason].attempt_limit + steps_down + 1):
        assert shot_state(database, key) is ShotState.QUEUED
        lease = claim(database, key, f"w{attempt}").lease
        database.submit(leases.start, lease, 2.0).result()
        assert database.submit(leases.fail, lease, reason, "told", 5.0).result()
    shot = database.submit(jobs.get_shot, key).result()
    assert shot.state is ShotState.FAILED
    assert shot.failure is not None
    assert shot.failure.reason == RULES[reason].ending
    assert database.submit(jobs.get_job, key.job_id).result().state is JobState.FAILED


LOST, DRAINED, INTERNAL = Reason.WORKER_LOST, Reason.WORKER_DRAINED, Reason.INTERNAL


@pytest.mark.parametrize(
    ("outcomes", "ending"),
    [
        ([LOST, DRAINED, LOST, LOST], Reason.POISON),
        ([INTERNAL, INTERNAL, LOST], LOST),
        ([LOST, LOST, INTERNAL], INTERNAL),
        ([INTERNAL, LOST, DRAINED, LOST], LOST),
    ],
)
def test_a_shot_is_tried_three_times_in_all_and_is_poison_only_if_each_lost_its_worker(
    database: Database, outcomes: list[Reason], ending: Reason
) -> None:
    key = ShotKey(create(database).id, 1)
    for _ in range(2):  # a requeue forgets the first round
        for reason in outcomes:
            assert shot_state(database, key) is ShotState.QUEUED
            lease = claim(database, key).lease
            database.submit(leases.start, lease, 2.0).result()
            assert database.submit(leases.fail, lease, reason, "told", 5.0).result()
        failure = database.submit(jobs.get_shot, key).result().failure
        assert failure is not None
        assert failure.reason == ending
        database.submit(requeue_job, key.job_id, {ShotState.FAILED}, set(), 6.0).result()


def test_an_interruption_spends_no_attempt(database: Database) -> None:
    key = ShotKey(create(database).id, 1)
    for _ in range(10):
        lease = claim(database, key).lease
        assert database.submit(leases.fail, lease, Reason.WORKER_DRAINED, "", 5.0).result()
    assert shot_state(database, key) is ShotState.QUEUED


def test_cancel_ends_queued_shots_and_names_the_leases(database: Database) -> None:
    job = create(database, 3)
    lease = claim(database, ShotKey(job.id, 2)).lease
    cancelled, held = database.submit(jobs.cancel_job, job.id, 2.0).result()
    assert cancelled.state is JobState.CANCELLING
    assert [h.lease for h in held] == [lease]
    assert shot_state(database, ShotKey(job.id, 1)) is ShotState.CANCELLED
    assert database.submit(leases.release, lease, 3.0).result()
    assert database.submit(jobs.get_job, job.id).result().state is JobState.CANCELLED


def test_a_lost_shot_of_a_cancelled_job_is_not_queued_again(database: Database) -> None:
    job = create(database)
    lease = claim(database, ShotKey(job.id, 1)).lease
    database.submit(jobs.cancel_job, job.id, 2.0).result()
    assert database.submit(leases.fail, lease, Reason.WORKER_LOST, "", 3.0).result()
    assert shot_state(database, lease.shot) is ShotState.CANCELLED


def test_a_shot_that_succeeded_before_its_cancel_keeps_its_video(database: Database) -> None:
    job = create(database)
    lease = claim(database, ShotKey(job.id, 1)).lease
    database.submit(jobs.cancel_job, job.id, 2.0).result()
    assert database.submit(leases.succeed, lease, VIDEO, 1.0, 3.0).result()
    assert database.submit(jobs.get_job, job.id).result().state is JobState.SUCCEEDED


def test_a_shot_let_go_that_nobody_cancelled_is_queued_again(database: Database) -> None:
    key = ShotKey(create(database).id, 1)
    lease = claim(database, key).lease
    assert database.submit(leases.release, lease, 3.0).result()
    assert shot_state(database, key) is ShotState.QUEUED


def test_queue_is_in_order_of_priority_then_age(database: Database) -> None:
    first, urgent, last = create(database, 2), create(database, priority=50), create(database)
    found = database.submit(claims.queue, ["tiny"], 10).result()
    assert [q.key for q in found] == [
        ShotKey(urgent.id, 1),
        ShotKey(first.id, 1),
        ShotKey(first.id, 2),
        ShotKey(last.id, 1),
    ]
    assert database.submit(claims.queue, ["svd-xt"], 10).result() == []


def test_queue_names_the_workers_that_failed_a_shot(database: Database) -> None:
    key = ShotKey(create(database).id, 1)
    lease = claim(database, key, "bad").lease
    database.submit(leases.fail, lease, Reason.GPU_ERROR, "", 1.0).result()
    lease = claim(database, key, "drained").lease
    database.submit(leases.fail, lease, Reason.WORKER_DRAINED, "", 1.0).result()
    (queued,) = database.submit(claims.queue, ["tiny"], 10).result()
    assert queued.candidate.failed_on == {"bad"}


@pytest.mark.parametrize("told_late", [False, True], ids=["never began", "told too late"])
def test_a_shot_that_lost_its_workers_before_it_began_is_charged_in_the_end(
    database: Database, told_late: bool
) -> None:
    key = ShotKey(create(database).id, 1)
    attempts = 0
    while shot_state(database, key) is ShotState.QUEUED:
        lease = claim(database, key).lease
        assert database.submit(leases.fail, lease, Reason.WORKER_LOST, "", 5.0).result()
        if told_late:
            database.submit(leases.start, lease, 6.0).result()
        attempts += 1
        assert attempts <= UNSTARTED_LIMIT + RULES[Reason.WORKER_LOST].attempt_limit
    assert attempts == UNSTARTED_LIMIT + RULES[Reason.WORKER_LOST].attempt_limit
    failure = database.submit(jobs.get_shot, key).result().failure
    assert failure is not None
    assert failure.reason == Reason.POISON


def test_out_of_memory_is_tried_with_less_before_it_is_charged(database: Database) -> None:
    key = ShotKey(create(database).id, 1)
    profiles = []
    while shot_state(database, key) is ShotState.QUEUED:
        claimed = claim(database, key)
        profiles.append(claimed.memory)
        database.submit(leases.fail, claimed.lease, Reason.OUT_OF_MEMORY, "", 5.0).result()
    assert profiles == [0, 1, 2, 2, 2]
    states = [ShotState.FAILED]
    database.submit(requeue_job, key.job_id, states, [], 6.0).result()
    assert claim(database, key).memory is MemoryProfile.AS_STARTED
