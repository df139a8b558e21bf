"""What the store keeps of the call that queued a shot, for the shot's spans."""

from __future__ import annotations

from dataclasses import replace

from farm.jobs.retry import Reason
from farm.jobs.states import ShotState
from farm.jobs.trace_context import TRACED_SHOTS
from farm.store import attempts, claims, jobs, leases
from farm.store.database import Database
from farm.store.records import Lease, ShotKey, spans_of
from farm.store.requeue import requeue_job
from tests.unit.store.conftest import new_job

CALL = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AGAIN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def create(database: Database, shots: int, call: str = CALL) -> str:
    new = replace(new_job(shots), traceparent=call)
    return database.submit(jobs.create_job, new, 1.0).result().id


def claim(database: Database, key: ShotKey) -> Lease:
    claimed = database.submit(
        claims.claim, key, "w", expiry_s=99.0, now_s=3.0, gateway="g"
    ).result()
    assert claimed is not None
    return claimed.lease


def test_the_first_shots_of_a_call_are_traced(database: Database) -> None:
    job = create(database, TRACED_SHOTS + 2)
    found = database.submit(attempts.traced, job, ShotState.QUEUED).result()
    assert [shot.shot.number for shot in found] == list(range(1, TRACED_SHOTS + 1))
    assert {(shot.traceparent, shot.time_s) for shot in found} == {(CALL, 1.0)}
    assert claim(database, ShotKey(job, TRACED_SHOTS + 1)).traceparent == ""


def test_a_lease_has_the_same_span_from_claim_to_expiry(database: Database) -> None:
    key = ShotKey(create(database, 1), 1)
    lease = claim(database, key)
    assert lease.traceparent == spans_of(key, 1, CALL)[1]
    assert lease.ids["trace"] == CALL[3:35]
    (held,) = database.submit(leases.held_by, "w").result()
    (expired,) = database.submit(leases.expired, 100.0).result()
    assert held.traceparent == expired.lease.traceparent == lease.traceparent


def test_an_ending_tells_both_times_and_why(database: Database) -> None:
    lease = claim(database, ShotKey(create(database, 1), 1))
    database.submit(leases.fail, lease, Reason.PARAMS_REJECTED, "no", 5.0).result()
    found = database.submit(attempts.ended, lease).result()
    assert found is not None
    shot, attempt = found
    assert (shot.state, shot.error_reason) == (ShotState.FAILED, "PARAMS_REJECTED")
    assert (attempt.claim_time_s, attempt.end_time_s) == (3.0, 5.0)


def test_what_nobody_traces_has_no_spans(database: Database) -> None:
    lease = claim(database, ShotKey(create(database, 1, call=""), 1))
    assert lease.traceparent == ""
    assert "trace" not in lease.ids
    assert database.submit(attempts.ended, lease).result() is None


def test_a_requeue_gives_its_own_shots_to_its_own_call(database: Database) -> None:
    job = create(database, 3)
    for number in (1, 2):
        lease = claim(database, ShotKey(job, number))
        database.submit(leases.fail, lease, Reason.PARAMS_REJECTED, "no", 5.0).result()
    failed = {ShotState.FAILED}
    database.submit(requeue_job, job, failed, {1}, 7.0, traceparent=AGAIN).result()
    database.submit(requeue_job, job, failed, {2}, 8.0).result()
    found = database.submit(attempts.traced, job, ShotState.QUEUED).result()
    assert {(s.shot.number, s.traceparent, s.time_s) for s in found} == {
        (1, AGAIN, 7.0),
        (3, CALL, 1.0),
    }
