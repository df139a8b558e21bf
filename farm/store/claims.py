"""The queue and the claims on it: an attempt is counted, and gets its token, at its claim."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from farm.jobs.retry import MemoryProfile, Reason
from farm.jobs.schedule import Candidate, shape_of
from farm.jobs.states import ShotEvent, ShotState, Wish
from farm.store import schema
from farm.store.clock import Instant
from farm.store.moves import Move
from farm.store.records import Lease, Shot, ShotKey, params_from_json
from farm.store.rows import shot_from_row


@dataclass(frozen=True)
class QueuedShot:
    """A shot that may be claimed, with what the scheduler wants to know of it."""

    key: ShotKey
    candidate: Candidate


@dataclass(frozen=True)
class Claim:
    """A claimed shot and its lease."""

    lease: Lease
    shot: Shot
    memory: MemoryProfile
    wait_s: float | None  # in the queue; None where an older version queued it


# Made once: every shot has them.
_CLAIM = Move(
    ShotState.QUEUED,
    ShotEvent.CLAIM,
    schema.shot.c.job_id.in_(select(schema.job.c.id).where(schema.job.c.wish == Wish.RUN)),
    returning=tuple(schema.shot.c),
    attempt_count=schema.shot.c.attempt_count + 1,
    charged_attempt_count=schema.shot.c.charged_attempt_count + 1,
)
_NEW_ATTEMPT = insert(schema.attempt).inline()


def queue(conn: Connection, models: Sequence[str], limit: int) -> list[QueuedShot]:
    """The next shots for workers of these models, in order of service: priority, then age."""
    shot, job = schema.shot, schema.job
    rows = conn.execute(
        select(
            shot.c.job_id,
            shot.c.number,
            shot.c.job_number,
            shot.c.priority,
            shot.c.params,
            shot.c.attempt_count,
        )
        .join(job, job.c.id == shot.c.job_id)
        .where(shot.c.state == ShotState.QUEUED, shot.c.model.in_(models))
        .where(job.c.wish == Wish.RUN)
        .order_by(shot.c.priority.desc(), shot.c.job_number, shot.c.number)
        .limit(limit)
    ).all()
    return [
        QueuedShot(
            ShotKey(row.job_id, row.number),
            Candidate(
                shot=str(ShotKey(row.job_id, row.number)),
                shape=shape_of(params_from_json(row.params)),
                priority=row.priority,
                job_number=row.job_number,
                number=row.number,
                failed_on=_failed_on(conn, row.job_id, row.number)
                if row.attempt_count
                else frozenset(),
            ),
        )
        for row in rows
    ]


# Endings of attempts that say nothing about their worker.
_NO_FAULT = (Reason.WORKER_DRAINED, Reason.STORE_AWAY, ShotState.CANCELLED)


def _failed_on(conn: Connection, job_id: str, shot_number: int) -> frozenset[str]:
    attempt = schema.attempt
    workers = conn.execute(
        select(attempt.c.worker).where(
            attempt.c.job_id == job_id,
            attempt.c.shot_number == shot_number,
            attempt.c.outcome.is_not(None),
            attempt.c.outcome.not_in(_NO_FAULT),
        )
    ).scalars()
    return frozenset(workers)


def claim(
    conn: Connection,
    key: ShotKey,
    worker: str,
    *,
    expiry_s: Instant,
    now_s: float,
    gateway: str | None = None,
) -> Claim | None:
    """Gives a queued shot to a worker of `gateway`: a new attempt with a new token, counted now.

    None where the shot is no longer queued, or its job no longer wants it.
    """
    token = secrets.token_urlsafe(24)
    row = _CLAIM.make(
        conn,
        key,
        now_s,
        {"token": token, "worker": worker, "gateway": gateway, "lease_expiry_s": expiry_s},
    )
    if row is None:
        return None
    conn.execute(
        _NEW_ATTEMPT,
        {
            "job_id": key.job_id,
            "shot_number": key.number,
            "number": row.attempt_count,
            "worker": worker,
            "claim_time_s": now_s,
        },
    )
    memory = MemoryProfile(row.memory_profile or 0)
    # Two gateways' clocks may differ by more than it waited.
    wait_s = None if row.queue_time_s is None else max(0.0, now_s - row.queue_time_s)
    return Claim(Lease(key, row.attempt_count, token), shot_from_row(row), memory, wait_s)
