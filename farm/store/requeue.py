"""Requeue: a new round of shots that failed or were cancelled, because their owner asks for it."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, select, update

from farm.jobs.states import FINAL_JOB_STATES, REQUEUED_STATES, ShotEvent, ShotState, Wish, follow
from farm.jobs.trace_context import TRACED_SHOTS
from farm.store import quotas, schema
from farm.store.errors import JobCancelling, NotFound, ShotNotRequeued
from farm.store.jobs import get_job
from farm.store.moves import count, record_changes, wish
from farm.store.records import Job, ShotKey

_PART = 500  # below every database's limit of parameters


def requeue_job(
    conn: Connection,
    job_id: str,
    states: Collection[ShotState],
    numbers: Collection[int],
    now_s: float,
    *,
    sees: str | None = None,
    traceparent: str = "",
) -> tuple[Job, int]:
    """Queues the shots of a job again that ended in `states`; returns how many.

    `numbers` narrows them down; empty means all. Attempts are numbered on, and what was told of
    the last one is forgotten, its token first: no report of an earlier round is ever accepted. A
    job that has ended runs again; a paused one stays paused. Raises NotFound, JobCancelling,
    QuotaExceeded, and ShotNotRequeued for one of `numbers` that ended in another state or is being
    cancelled. `traceparent` is of the call, where spans of the first shots are wanted.
    """
    job = get_job(conn, job_id, sees=sees)
    if job.wish is Wish.CANCEL and job.state not in FINAL_JOB_STATES:
        raise JobCancelling(f"{job.name} is {job.state}; requeue it when it has ended")
    if numbers:
        _check(conn, job, states, numbers)
    requeued = {state: _requeue(conn, job, state, numbers, now_s) for state in states}
    moved = {state: len(shots) for state, shots in requeued.items()}
    if not any(moved.values()):
        return job, 0
    if traceparent:
        first = sorted(itertools.chain.from_iterable(requeued.values()))[:TRACED_SHOTS]
        shot = schema.shot
        conn.execute(
            update(shot)
            .where(shot.c.job_id == job_id, shot.c.number.in_(first))
            .values(traceparent=traceparent, trace_time_s=now_s)
        )
    if job.state in FINAL_JOB_STATES:
        wish(conn, job_id, Wish.RUN, now_s)
    quotas.check_new_shots(conn, job.tenant, sum(moved.values()), now_s, counted=True)
    for state, n in moved.items():
        count(conn, job_id, state, follow(state, ShotEvent.REQUEUE), n, now_s)
    return get_job(conn, job_id), sum(moved.values())


def _requeue(
    conn: Connection, job: Job, before: ShotState, numbers: Collection[int], now_s: float
) -> list[int]:
    shot = schema.shot
    query = (
        update(shot)
        .where(shot.c.job_id == job.id, shot.c.state == before)
        .values(
            state=follow(before, ShotEvent.REQUEUE),
            charged_attempt_count=0,
            token=None,
            worker=None,
            gateway=None,
            lease_expiry_s=None,
            memory_profile=None,
            wish=None,
            render_duration_s=None,
            error_reason=None,
            error_message=None,
            queue_time_s=now_s,
            traceparent=None,
            trace_time_s=None,
        )
        .returning(shot.c.number)
    )
    moved: list[int] = []
    for part in _parts(numbers):
        moved += conn.execute(query.where(shot.c.number.in_(part)) if part else query).scalars()
    record_changes(conn, job.id, sorted(moved))
    return moved


def _check(
    conn: Connection, job: Job, states: Collection[ShotState], numbers: Collection[int]
) -> None:
    shot = schema.shot
    found: dict[int, Row[Any]] = {}
    for part in _parts(numbers):
        query = select(shot.c.number, shot.c.state, shot.c.wish)
        query = query.where(shot.c.job_id == job.id, shot.c.number.in_(part))
        found |= {row.number: row for row in conn.execute(query)}
    going_on = {ShotState.QUEUED, ShotState.RENDERING}  # as after the same call before
    for number in sorted(numbers):
        key = ShotKey(job.id, number)
        if number not in found:
            raise NotFound("shot", str(key))
        state = ShotState(found[number].state)
        if state is ShotState.RENDERING and found[number].wish == Wish.CANCEL:
            raise ShotNotRequeued(f"{key} is being cancelled; requeue it when it has ended")
        if state in REQUEUED_STATES and state not in states:
            raise ShotNotRequeued(f"{key} is {state}; ask for shots that are {state} as well")
        if state not in REQUEUED_STATES | going_on:
            allowed = " or ".join(sorted(REQUEUED_STATES))
            raise ShotNotRequeued(
                f"{key} is {state}; allowed: {allowed}. To render it once more, submit a new job"
            )


def _parts(numbers: Collection[int]) -> list[list[int]]:
    """`numbers` in parts that a statement can hold; one empty part where all are meant."""
    ordered = sorted(numbers)
    return [ordered[n : n + _PART] for n in range(0, len(ordered), _PART)] or [[]]
