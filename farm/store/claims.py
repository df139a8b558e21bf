"""The queue and the claims on it: an attempt is counted, and gets its token, at its claim."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    exists,
    func,
    insert,
    select,
    union_all,
    update,
)

from farm.jobs.access import DEFAULT_TENANT
from farm.jobs.estimate import work_of
from farm.jobs.params import SVD_XT, RenderParams, resolve
from farm.jobs.retry import MemoryProfile, Reason
from farm.jobs.schedule import Candidate, shape_of
from farm.jobs.states import ShotEvent, ShotState, Wish
from farm.jobs.turns import Claimant, Round, in_order
from farm.store import quotas, schema
from farm.store.clock import Instant
from farm.store.moves import Move
from farm.store.records import Lease, Shot, ShotKey, lease_of, params_from_json
from farm.store.rows import shot_from_row


@dataclass(frozen=True)
class QueuedShot:
    """A shot that may be claimed, with what the scheduler wants to know of it."""

    tenant: str
    key: ShotKey
    candidate: Candidate


@dataclass(frozen=True)
class Claim:
    """A claimed shot and its lease."""

    lease: Lease
    shot: Shot
    memory: MemoryProfile
    wait_s: float | None  # in the queue; None where an older version queued it
    time_s: float


# Made once: every shot has them.
_CLAIM = Move(
    ShotState.QUEUED,
    ShotEvent.CLAIM,
    schema.shot.c.job_id.in_(select(schema.job.c.id).where(schema.job.c.wish == Wish.RUN)),
    returning=tuple(schema.shot.c),
    attempt_count=schema.shot.c.attempt_count + 1,
    charged_attempt_count=schema.shot.c.charged_attempt_count + 1,
)
_USUAL_SIZE = work_of(resolve(RenderParams(), SVD_XT, seed=0)).size  # of a shot that costs 1
_NEW_ATTEMPT = insert(schema.attempt).inline()


@dataclass(frozen=True)
class Waiting:
    """The tenants whose shots may start, and the farm's virtual time; see `farm.jobs.turns`."""

    claimants: list[Claimant]  # in order of their turns
    now: float


# What may start on workers of these models.
_STARTS = and_(
    schema.shot.c.state == ShotState.QUEUED,
    schema.shot.c.model.in_(bindparam("models", expanding=True)),
    schema.job.c.wish == Wish.RUN,
)
_OF_JOB = schema.job.c.id == schema.shot.c.job_id
_WAITING = (
    select(
        schema.tenant.c.name,
        schema.tenant.c.weight,
        schema.tenant.c.turn,
        select(func.max(schema.tenant.alias("every").c.served_turn)).scalar_subquery().label("now"),
    )
    .where(
        exists()
        .select_from(schema.shot.join(schema.job, _OF_JOB))
        .where(schema.shot.c.tenant == schema.tenant.c.name, _STARTS)
        .correlate(schema.tenant)
    )
    .where(quotas.MAY_START)
)


def waiting(conn: Connection, models: Collection[str], now_s: float) -> Waiting:
    """Whose shots may start on workers of these models: none of a tenant above its GPU quota."""
    rows = conn.execute(_WAITING, {"models": sorted(models), **quotas.at(now_s)}).all()
    now = rows[0].now if rows else 0.0
    return Waiting(in_order((Claimant(r.name, r.weight, r.turn) for r in rows), now), now)


def keep_turns(conn: Connection, before: Waiting, after: Round) -> None:
    """Stores the turns of the tenants that were served, where they have changed."""
    tenant = schema.tenant
    for claimant in after.served:
        if claimant not in before.claimants or after.now != before.now:
            changed = update(tenant).where(tenant.c.name == claimant.tenant)
            conn.execute(changed.values(turn=claimant.turn, served_turn=after.now))


def queue(
    conn: Connection,
    models: Collection[str],
    limit: int,
    tenants: Sequence[str] = (DEFAULT_TENANT,),
) -> list[QueuedShot]:
    """The next shots of each tenant for workers of these models, at most `limit` of each.

    A tenant's are in order of service: priority, then age.
    """
    shot, job = schema.shot, schema.job
    each = [
        select(
            shot.c.tenant,
            shot.c.job_id,
            shot.c.number,
            shot.c.job_number,
            shot.c.priority,
            shot.c.params,
            shot.c.attempt_count,
        )
        .join(job, _OF_JOB)
        .where(shot.c.tenant == tenant, _STARTS)
        .order_by(shot.c.priority.desc(), shot.c.job_number, shot.c.number)
        .limit(limit)
        for tenant in tenants
    ]
    query = each[0] if len(each) == 1 else union_all(*(select(s.subquery()) for s in each))
    rows = conn.execute(query, {"models": sorted(models)}).all()
    return [
        QueuedShot(row.tenant, ShotKey(row.job_id, row.number), _candidate(conn, row))
        for row in rows
    ]


def _candidate(conn: Connection, row: Row[Any]) -> Candidate:
    params = params_from_json(row.params)
    return Candidate(
        shot=str(ShotKey(row.job_id, row.number)),
        shape=shape_of(params),
        priority=row.priority,
        job_number=row.job_number,
        number=row.number,
        failed_on=_failed_on(conn, row.job_id, row.number) if row.attempt_count else frozenset(),
        cost=work_of(params).size / _USUAL_SIZE,
    )


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
    return Claim(lease_of(row), shot_from_row(row), memory, wait_s, now_s)
