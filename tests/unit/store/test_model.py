"""The store against a model of the rules, in virtual time: whatever is asked in whatever order.

The model is written from docs/RELIABILITY.md and docs/errors.md, and shares no code with the store.
`FARM_MODEL_EXAMPLES` says how many runs are tried; `make chaos` tries 2,000.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run
from sqlalchemy import delete, select

from farm.jobs.retry import Reason
from farm.jobs.states import ShotState
from farm.store import claims, deletion, inputs, jobs, leases, requeue, schema
from farm.store.database import Database
from farm.store.errors import JobCancelling, JobNotEnded, NotFound, RequestConflict
from farm.store.postgres import Postgres
from farm.store.records import Lease, ShotKey, Video
from farm.store.sqlite import Sqlite
from tests.postgres import PostgresServer
from tests.unit.store.conftest import IMAGE, new_job

LEASE_S = 30.0
WORKERS = ("w1", "w2", "w3")
UNCHARGED = {"WORKER_DRAINED", "STORE_AWAY"}
LIMITS = {"CLIP_NOT_FINITE": 2, "IMAGE_REJECTED": 1, "PARAMS_REJECTED": 1}  # 3 for all else
REASONS = ["GPU_ERROR", "CLIP_NOT_FINITE", "IMAGE_REJECTED", "OUT_OF_MEMORY", "WORKER_DRAINED"]
FINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}


@dataclass
class ModelShot:
    """What is true of a shot."""

    state: str = "QUEUED"
    attempts: int = 0
    charged: int = 0
    profile: int = 0  # how many memory profiles below the worker's own
    lost_unbegun: int = 0
    cancel: bool = False  # this shot alone
    begun: bool = False
    worker: str = ""
    lease: Lease | None = None  # the one that counts
    expiry_s: float = 0.0
    error: str = ""
    video: str = ""


@dataclass
class ModelJob:
    """What is true of a job."""

    shots: dict[int, ModelShot]
    request_id: str
    wish: str = "RUN"

    @property
    def ended(self) -> bool:
        return all(shot.state in FINAL for shot in self.shots.values())


@dataclass
class Model:
    """The farm as its documents tell it."""

    jobs: dict[str, ModelJob] = field(default_factory=dict)

    def holder(self, lease: Lease) -> ModelShot | None:
        """The shot that this lease still counts for."""
        job = self.jobs.get(lease.shot.job_id)
        shot = job.shots.get(lease.shot.number) if job else None
        return shot if shot and shot.state == "RENDERING" and shot.lease == lease else None

    def fail(self, lease: Lease, reason: str) -> str | None:
        """The state that an attempt's failure leads to; None: the lease was lost."""
        shot = self.holder(lease)
        if shot is None:
            return None
        lost_unbegun = reason == "WORKER_LOST" and not shot.begun
        smaller = reason == "OUT_OF_MEMORY" and shot.profile < 2
        bystander = lost_unbegun and shot.lost_unbegun < 3
        shot.lost_unbegun += lost_unbegun
        shot.profile += smaller
        if smaller or bystander or reason in UNCHARGED:
            shot.charged -= 1
        elif shot.charged >= LIMITS.get(reason, 3):
            shot.state, shot.error = "FAILED", reason
            return shot.state
        asked = shot.cancel or self.jobs[lease.shot.job_id].wish == "CANCEL"
        shot.state = "CANCELLED" if asked else "QUEUED"
        return shot.state


class Machine(RuleBasedStateMachine):
    """Asks the store and the model the same, and compares."""

    database: Database
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.now_s = 1000.0
        self.leases: list[Lease] = []  # all that were ever given, as late reports come too
        self.ask(_forget_all)

    def ask(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        return self.database.submit(fn, *args, **kwargs).result()

    def a_job(self, pick: int) -> tuple[str, ModelJob]:
        return list(self.model.jobs.items())[pick % len(self.model.jobs)]

    def a_lease(self, pick: int) -> Lease:
        return self.leases[-1 - pick % len(self.leases)]

    # what owners do

    @rule(count=st.integers(1, 4), priority=st.sampled_from([0, 0, 50]))
    def create(self, count: int, priority: int) -> None:
        request_id = f"request-{next(self.numbers)}"
        self.ask(inputs.put_image, IMAGE, self.now_s)  # it may have gone with another job
        new = new_job(count, priority=priority, request_id=request_id)
        job = self.ask(jobs.create_job, new, self.now_s)
        shots = {number: ModelShot() for number in range(1, count + 1)}
        self.model.jobs[job.id] = ModelJob(shots, request_id)

    @precondition(lambda self: self.model.jobs)
    @rule(pick=st.integers(0, 9), other=st.booleans())
    def create_again(self, pick: int, other: bool) -> None:
        job_id, job = self.a_job(pick)
        again = new_job(len(job.shots), request_id=job.request_id)
        if other:
            with pytest.raises(RequestConflict):
                self.ask(jobs.create_job, replace(again, request_sha256="1" * 64), self.now_s)
        else:
            assert self.ask(jobs.create_job, again, self.now_s).id == job_id

    @precondition(lambda self: self.model.jobs)
    @rule(pick=st.integers(0, 9), shot=st.none() | st.integers(1, 4))
    def cancel(self, pick: int, shot: int | None) -> None:
        job_id, job = self.a_job(pick)
        if shot is not None and shot not in job.shots:
            with pytest.raises(NotFound):
                self.ask(jobs.cancel_job, job_id, self.now_s, [shot])
            return
        self.ask(jobs.cancel_job, job_id, self.now_s, [] if shot is None else [shot])
        if job.ended:
            return
        job.wish = "CANCEL" if shot is None else job.wish
        for number, found in job.shots.items():
            if shot in (None, number) and found.state == "QUEUED":
                found.state = "CANCELLED"
            elif shot in (None, number) and found.state == "RENDERING":
                found.cancel = True

    @precondition(lambda self: self.model.jobs)
    @rule(pick=st.integers(0, 9), pause=st.booleans())
    def pause_or_resume(self, pick: int, pause: bool) -> None:
        job_id, job = self.a_job(pick)
        act = jobs.pause_job if pause else jobs.resume_job
        if job.wish == "CANCEL" and not job.ended:
            with pytest.raises(JobCancelling):
                self.ask(act, job_id, self.now_s)
            return
        self.ask(act, job_id, self.now_s)
        if not job.ended:
            job.wish = "PAUSE" if pause else "RUN"

    @precondition(lambda self: self.model.jobs)
    @rule(pick=st.integers(0, 9), states=st.sampled_from([["FAILED"], ["FAILED", "CANCELLED"]]))
    def requeue(self, pick: int, states: list[str]) -> None:
        job_id, job = self.a_job(pick)
        wanted = [ShotState(state) for state in states]
        if job.wish == "CANCEL" and not job.ended:
            with pytest.raises(JobCancelling):
                self.ask(requeue.requeue_job, job_id, wanted, (), self.now_s)
            return
        _, count = self.ask(requeue.requeue_job, job_id, wanted, (), self.now_s)
        again = {n: shot for n, shot in job.shots.items() if shot.state in states}
        assert count == len(again)
        if again and job.ended:
            job.wish = "RUN"
        for number, shot in again.items():
            job.shots[number] = ModelShot(attempts=shot.attempts, lost_unbegun=shot.lost_unbegun)

    @precondition(lambda self: self.model.jobs)
    @rule(pick=st.integers(0, 9))
    def delete(self, pick: int) -> None:
        job_id, job = self.a_job(pick)
        if job.ended:
            self.ask(deletion.delete_job, job_id, unwanted_since_s=0.0)
            del self.model.jobs[job_id]
        else:
            with pytest.raises(JobNotEnded):
                self.ask(deletion.delete_job, job_id, unwanted_since_s=0.0)

    # what workers and gateways do

    @precondition(lambda self: self.model.jobs)
    @rule(pick=st.integers(0, 9), shot=st.integers(1, 4), worker=st.sampled_from(WORKERS))
    def claim(self, pick: int, shot: int, worker: str) -> None:
        job_id, job = self.a_job(pick)
        key, expiry_s = ShotKey(job_id, shot), self.now_s + LEASE_S
        made = self.ask(claims.claim, key, worker, expiry_s=expiry_s, now_s=self.now_s)
        found = job.shots.get(shot)
        assert (made is not None) == bool(found and found.state == "QUEUED" and job.wish == "RUN")
        if made is None or found is None:
            return
        assert made.memory == found.profile
        found.state, found.lease, found.worker = "RENDERING", made.lease, worker
        found.expiry_s, found.begun, found.cancel = expiry_s, False, False
        found.attempts += 1
        found.charged += 1
        assert made.lease.attempt == found.attempts
        self.leases.append(made.lease)

    @precondition(lambda self: self.model.jobs)
    @rule(times=st.integers(1, 5), begins=st.sampled_from(["never", "in time", "too late"]))
    def lose_workers_with_the_first_shot(self, times: int, begins: str) -> None:
        for _ in range(times):
            self.claim(0, 1, "w1")
            if begins == "in time" and self.leases:
                self.begin(0)
            self.time_passes(LEASE_S + 1)
            if begins == "too late" and self.leases:
                self.begin(0)

    @rule()
    def queue_is_in_order(self) -> None:
        queued = self.ask(claims.queue, ["tiny"], 100)
        assert {str(each.key) for each in queued} == {
            f"jobs/{job_id}/shots/{number}"
            for job_id, job in self.model.jobs.items()
            for number, shot in job.shots.items()
            if job.wish == "RUN" and shot.state == "QUEUED"
        }
        order = [(-c.priority, c.job_number, c.number) for c in (q.candidate for q in queued)]
        assert order == sorted(order)

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0, 5))
    def begin(self, pick: int) -> None:
        lease = self.a_lease(pick)
        self.ask(leases.start, lease, self.now_s)
        if shot := self.model.holder(lease):
            shot.begun = True

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0, 5), worker=st.sampled_from(WORKERS))
    def renew(self, pick: int, worker: str) -> None:
        lease = self.a_lease(pick)
        renewed = self.ask(leases.renew, [worker], [lease.token], self.now_s + LEASE_S)
        shot = self.model.holder(lease)
        mine = shot is not None and shot.worker == worker
        assert renewed == ({lease.token} if mine else set())
        if shot is not None and mine:
            shot.expiry_s = self.now_s + LEASE_S

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0, 5))
    def bring_into_a_new_session(self, pick: int) -> None:
        lease = self.a_lease(pick)
        shot = self.model.holder(lease)
        worker = shot.worker if shot else "w1"
        kept = self.ask(leases.adopt, lease, worker, self.now_s + LEASE_S)
        job = self.model.jobs.get(lease.shot.job_id)
        cancelled = shot is not None and job is not None and (shot.cancel or job.wish == "CANCEL")
        assert kept == (shot is not None and not cancelled)
        if shot is not None:
            shot.expiry_s = self.now_s + LEASE_S

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0, 5), version=st.sampled_from(["a", "b"]))
    def succeed(self, pick: int, version: str) -> None:
        lease = self.a_lease(pick)
        video = Video(f"videos/{lease.token}.mp4", version * 64, 100, 14)
        accepted = self.ask(leases.succeed, lease, video, 1.0, self.now_s)
        shot = self.model.holder(lease)
        job = self.model.jobs.get(lease.shot.job_id)
        ended = job.shots[lease.shot.number] if job else None
        again = ended and (ended.state, ended.lease, ended.video) == ("SUCCEEDED", lease, version)
        assert accepted == bool(shot or again)
        if shot is not None:
            shot.state, shot.video = "SUCCEEDED", version

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0, 5), reason=st.sampled_from(REASONS))
    def fail(self, pick: int, reason: str) -> None:
        lease = self.a_lease(pick)
        state = self.ask(leases.fail, lease, Reason(reason), "told", self.now_s)
        assert state == self.model.fail(lease, reason)

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0, 5))
    def let_go(self, pick: int) -> None:
        lease = self.a_lease(pick)
        state = self.ask(leases.release, lease, self.now_s)
        shot, job = self.model.holder(lease), self.model.jobs.get(lease.shot.job_id)
        if shot and job and (shot.cancel or job.wish == "CANCEL"):
            shot.state = "CANCELLED"
            assert state == "CANCELLED"
        else:
            assert state == self.model.fail(lease, "WORKER_DRAINED")

    @rule(passed_s=st.sampled_from([1.0, LEASE_S / 2, LEASE_S + 1]))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s
        taken = self.ask(leases.take_back_expired, self.now_s, self.now_s)
        lost = [
            shot.lease
            for job in self.model.jobs.values()
            for shot in job.shots.values()
            if shot.state == "RENDERING" and shot.lease and shot.expiry_s <= self.now_s
        ]
        assert {held.lease for held, _ in taken} == set(lost)
        for lease in lost:
            self.model.fail(lease, "WORKER_LOST")

    # what has to be true at any time

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        shots, found, attempts = self.ask(_everything)
        assert {row.id for row in found} == set(self.model.jobs)
        for row in found:
            job = self.model.jobs[row.id]
            states = Counter(shot.state for shot in job.shots.values())
            counted = (row.queued_count, row.rendering_count, row.succeeded_count)
            counted += (row.failed_count, row.cancelled_count)
            names = ("QUEUED", "RENDERING", "SUCCEEDED", "FAILED", "CANCELLED")
            assert counted == tuple(states[name] for name in names)
        for row in shots:
            shot = self.model.jobs[row.job_id].shots[row.number]
            assert (row.state, row.attempt_count) == (shot.state, shot.attempts)
            assert row.charged_attempt_count == shot.charged
            assert attempts[row.job_id, row.number] == shot.attempts
            assert (row.video_sha256 or "") == shot.video * 64
            if shot.error == "WORKER_LOST":
                assert row.error_reason in ("WORKER_LOST", "POISON")
            else:
                assert (row.error_reason or "") == shot.error


def _everything(conn: Any) -> tuple[Any, Any, Counter[tuple[str, int]]]:
    attempts = conn.execute(select(schema.attempt)).all()
    return (
        conn.execute(select(schema.shot)).all(),
        conn.execute(select(schema.job)).all(),
        Counter((row.job_id, row.shot_number) for row in attempts),
    )


def _forget_all(conn: Any) -> None:
    for table in (schema.change, schema.attempt, schema.shot, schema.job, schema.deletion):
        conn.execute(delete(table))


@contextmanager
def opened(database: Database) -> Iterator[Database]:
    try:
        yield database
    finally:
        database.close()


def holds(database: Database) -> None:
    """Tries the store against the model."""
    machine = type("Machine", (Machine,), {"database": database})
    run(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("FARM_MODEL_EXAMPLES", "200")),
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_sqlite_follows_the_rules(tmp_path: Path) -> None:
    with opened(Database.open(Sqlite(tmp_path / "farm.db"))) as database:
        holds(database)


def test_postgresql_follows_the_rules(postgres: PostgresServer) -> None:
    with postgres.database() as url, opened(Database.open(Postgres(url))) as database:
        holds(database)
