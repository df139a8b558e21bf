"""What speaks against a worker, on both databases."""

from __future__ import annotations

import pytest

from farm.jobs.retry import Reason
from farm.store import claims, cordons, leases, workers
from farm.store.database import Database
from farm.store.records import Failure, ShotKey, Video
from farm.store.workers import Session
from tests.unit.store.conftest import create

VIDEO = Video("videos/x.mp4", "b" * 64, size_bytes=100, frame_count=14)


@pytest.fixture
def joined(database: Database) -> Database:
    for name in ("bad", "good"):
        session = Session(name, name, "g", b"", frozenset({"tiny"}), "ACTIVE", 1.0)
        database.submit(workers.join, session, 1.0).result()
    return database


def fails_at(
    database: Database,
    worker: str,
    reason: Reason = Reason.GPU_ERROR,
    *,
    then_at: str = "good",
    now_s: float = 5.0,
) -> None:
    """A shot that fails at one worker and succeeds at another."""
    key = ShotKey(create(database).id, 1)
    for name in (worker, then_at):
        claim = database.submit(claims.claim, key, name, expiry_s=9.0, now_s=now_s).result()
        assert claim is not None
        if name == worker and worker != then_at:
            database.submit(leases.fail, claim.lease, reason, "", now_s).result()
            continue
        assert database.submit(leases.succeed, claim.lease, VIDEO, 1.0, now_s).result()
        return


def cordon_of(database: Database, worker: str) -> Failure | None:
    row = database.submit(workers.get, worker, 1.0).result()
    assert row is not None
    return row.cordon


def test_a_cordon_tells_what_a_database_cannot_keep(joined: Database) -> None:
    joined.submit(cordons.cordon_at_start, "bad", "CUDA\0 \ud800").result()
    told = cordon_of(joined, "bad")
    assert told is not None
    assert told.message == "CUDA� ?"


def test_a_worker_is_cordoned_when_three_shots_failed_that_succeed_elsewhere(
    joined: Database,
) -> None:
    for expected in (None, None, "SHOTS_FAILED"):
        assert cordon_of(joined, "bad") is None
        fails_at(joined, "bad")
        found = cordon_of(joined, "bad")
        assert (found and found.reason) == expected
    assert cordon_of(joined, "good") is None
    assert set(joined.submit(workers.taking, 0.0).result()) == {"good"}


@pytest.mark.parametrize("reason", [Reason.DISK_FULL, Reason.WORKER_DRAINED, Reason.WORKER_LOST])
def test_what_is_nobodys_fault_cordons_nobody(joined: Database, reason: Reason) -> None:
    for _ in range(4):
        fails_at(joined, "bad", reason)
    assert cordon_of(joined, "bad") is None


def test_a_shot_that_fails_twice_at_a_worker_counts_once(joined: Database) -> None:
    for _ in range(2):
        key = ShotKey(create(joined).id, 1)
        for name in ("bad", "bad", "good"):
            claim = joined.submit(claims.claim, key, name, expiry_s=9.0, now_s=5.0).result()
            assert claim is not None
            if name == "bad":
                joined.submit(leases.fail, claim.lease, Reason.INTERNAL, "", 5.0).result()
        assert joined.submit(leases.succeed, claim.lease, VIDEO, 1.0, 5.0).result()
    assert cordon_of(joined, "bad") is None


def test_shots_that_end_nowhere_speak_against_nobody(joined: Database) -> None:
    for _ in range(4):
        key = ShotKey(create(joined).id, 1)
        for name in ("bad", "good"):
            claim = joined.submit(claims.claim, key, name, expiry_s=9.0, now_s=5.0).result()
            assert claim is not None
            joined.submit(leases.fail, claim.lease, Reason.CLIP_NOT_FINITE, "", 5.0).result()
    assert cordon_of(joined, "bad") is None


def test_what_an_operator_forgave_is_not_counted_again(joined: Database) -> None:
    for _ in range(3):
        fails_at(joined, "bad")
    assert joined.submit(cordons.uncordon, "bad", 10.0).result()
    for expected in (None, None, "SHOTS_FAILED"):
        fails_at(joined, "bad", now_s=11.0)
        found = cordon_of(joined, "bad")
        assert (found and found.reason) == expected
    assert not joined.submit(cordons.uncordon, "nobody", 12.0).result()


def test_a_canary_that_was_let_work_is_not_cordoned_when_it_comes_back(joined: Database) -> None:
    joined.submit(cordons.cordon_at_start, "bad", "black").result()
    assert cordon_of(joined, "bad") == Failure("CANARY_FAILED", "black")
    joined.submit(cordons.uncordon, "bad", 10.0).result()
    joined.submit(cordons.cordon_at_start, "bad", "black").result()
    assert cordon_of(joined, "bad") is None


def test_a_shot_that_needs_a_smaller_profile_speaks_against_nobody(joined: Database) -> None:
    for _ in range(4):
        fails_at(joined, "bad", Reason.OUT_OF_MEMORY)

    assert cordon_of(joined, "bad") is None


def test_a_worker_without_memory_for_the_smallest_profile_is_cordoned(joined: Database) -> None:
    for _ in range(3):
        key = ShotKey(create(joined).id, 1)
        for name in ("bad", "bad", "bad", "good"):
            claim = joined.submit(claims.claim, key, name, expiry_s=9.0, now_s=5.0).result()
            assert claim is not None
            if name == "bad":
                joined.submit(leases.fail, claim.lease, Reason.OUT_OF_MEMORY, "", 5.0).result()
            else:
                assert joined.submit(leases.succeed, claim.lease, VIDEO, 1.0, 5.0).result()

    assert cordon_of(joined, "bad") is not None
