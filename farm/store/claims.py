"""The queue and the claims on it: an attempt is counted, and gets its token, at its claim."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
from farm.jobs.schedule import Candidate, Shape, shape_of
from farm.jobs.states import ShotEvent, ShotState, Wish
from farm.jobs.turns import Claimant, Round, in_order
from farm.store import quotas, schema
from farm.store.clock import Instant
from farm.store.moves import Move, rows_of
from farm.store.records import Lease, Shot, ShotKey, lease_of
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
    shape, cost = _kind(*map(row.params.get, _OF_KIND))
    return Candidate(
        shot=str(ShotKey(row.job_id, row.number)),
        shape=shape,
        priority=row.priority,
        job_number=row.job_number,
        number=row.number,
        failed_on=_failed_on(conn, row.job_id, row.number) if row.attempt_count else frozenset(),
        cost=cost,
    )


# What shape and cost depend on: thousands of shots have the same.
_OF_KIND = (
    "model",
    "tier",
    "width_px",
    "height_px",
    "frame_count",
    "step_count",
    "decode_chunk_size",
    "max_guidance_scale",
)


@lru_cache(maxsize=1024)
def _kind(*values: Any) -> tuple[Shape, float]:
    params = RenderParams(**dict(zip(_OF_KIND, values, strict=True)))
    return shape_of(params), work_of(params).size / _USUAL_SIZE


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
    """As `claim_all`, for one shot."""
    claimed = claim_all(conn, {key: worker}, expiry_s=expiry_s, now_s=now_s, gateway=gateway)
    return claimed[0] if claimed else None


def claim_all(
    conn: Connection,
    wanted: Mapping[ShotKey, str],
    *,
    expiry_s: Instant,
    now_s: float,
    gateway: str | None = None,
) -> list[Claim]:
    """Gives queued shots to workers of `gateway`: each a new attempt with a new token, counted now.

    Those are left out that are no longer queued, or whose job no longer wants them.
    """
    tokens = {key: secrets.token_urlsafe(24) for key in wanted}
    given = {
        key: {"token": tokens[key], "worker": worker, "gateway": gateway}
        for key, worker in wanted.items()
    }
    moved = _CLAIM.make_many(conn, given, now_s, lease_expiry_s=expiry_s)
    rows = [row for _, row in sorted(rows_of(conn, moved).items())]
    attempts = [
        {
            "job_id": row.job_id,
            "shot_number": row.number,
            "number": row.attempt_count,
            "worker": row.worker,
            "claim_time_s": now_s,
        }
        for row in rows
    ]
    if attempts:
        conn.execute(_NEW_ATTEMPT, attempts)
    return [_claim(row, now_s) for row in rows]


def _claim(row: Row[Any], now_s: float) -> Claim:
    # Two gateways' clocks may differ by more than it waited.
    wait_s = None if row.queue_time_s is None else max(0.0, now_s - row.queue_time_s)
    memory = MemoryProfile(row.memory_profile or 0)
    return Claim(lease_of(row), shot_from_row(row), memory, wait_s, now_s)
