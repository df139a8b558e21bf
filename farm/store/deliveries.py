"""What is to be told to jobs' webhooks: noted by the transaction that ends the job, so never lost.

A gateway claims messages, sends them under no lock, and settles each. A claim that runs out, as its
gateway is gone, is anybody's: a message may be sent twice, under one id.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, or_, select, update

from farm.jobs.webhooks import DeliveryState, Verdict, iso_time, write_message
from farm.store import schema
from farm.store.clock import Instant
from farm.store.records import Delivery, Job

# What `Database.on_commit` and `on_news` tell, among the ids of jobs, when there is one to send.
DELIVERIES = "deliveries"

# Far longer than an attempt is given: afterwards its gateway is dead, not slow.
_CLAIM_S = 60.0


@dataclass(frozen=True)
class Claimed:
    """A message that one gateway sends now."""

    id: str
    token: str
    job_id: str
    url: str
    body: bytes
    attempt_count: int  # those before


def note(conn: Connection, job: Job) -> None:
    """Notes that a job's webhook is to be told that it has ended."""
    assert job.end_time_s is not None
    conn.execute(
        insert(schema.delivery).values(
            id=f"msg_{secrets.token_hex(12)}",
            job_id=job.id,
            body=write_message(job.state, job.end_time_s, _data(job)),
            state=DeliveryState.PENDING,
            attempt_count=0,
            next_time_s=job.end_time_s,
        )
    )


def next_time_s(conn: Connection, steady_s: Instant) -> float | None:
    """When the first message that nobody has claimed is due; None: there is none."""
    soonest = select(func.min(schema.delivery.c.next_time_s)).where(_free(steady_s))
    time_s: float | None = conn.execute(soonest).scalar_one()
    return time_s


def claim(conn: Connection, now_s: float, steady_s: Instant, limit: int) -> list[Claimed]:
    """Claims messages that are due, those that failed before last: nobody else sends them now."""
    delivery, job = schema.delivery, schema.job
    rows = conn.execute(
        select(delivery, job.c.webhook)
        .join(job, job.c.id == delivery.c.job_id)
        .where(delivery.c.next_time_s <= now_s, _free(steady_s))
        .order_by(delivery.c.attempt_count, delivery.c.next_time_s, delivery.c.number)
        .limit(limit)
    ).all()
    if not rows:
        return []
    token = secrets.token_hex(16)
    conn.execute(
        update(delivery)
        .where(delivery.c.id.in_([row.id for row in rows]))
        .values(claim=token, claim_expiry_s=steady_s + _CLAIM_S)
    )
    return [
        Claimed(row.id, token, row.job_id, row.webhook, row.body.encode(), row.attempt_count)
        for row in rows
    ]


def settle(
    conn: Connection, claimed: Claimed, verdict: Verdict, told: str | None, now_s: float
) -> bool:
    """Ends a claim with what came of it. False: it had run out, or the job is gone."""
    delivery = schema.delivery
    settled = conn.execute(
        update(delivery)
        .where(delivery.c.id == claimed.id, delivery.c.claim == claimed.token)
        .values(
            state=verdict.state,
            attempt_count=claimed.attempt_count + 1,
            next_time_s=None if verdict.pause_s is None else now_s + verdict.pause_s,
            message=told,
            claim=None,
            claim_expiry_s=None,
        )
    )
    return bool(settled.rowcount)


def end_claims(conn: Connection) -> None:
    """Ends the claims of gateways that are gone, where no other one can be there."""
    conn.execute(update(schema.delivery).values(claim=None, claim_expiry_s=None))


def latest(conn: Connection, job_id: str) -> Delivery | None:
    """The message about a job's last ending; None: it has no webhook, or never ended."""
    delivery = schema.delivery
    row = conn.execute(
        select(delivery)
        .where(delivery.c.job_id == job_id)
        .order_by(delivery.c.number.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    state = DeliveryState(row.state)
    return Delivery(row.id, state, row.attempt_count, row.next_time_s, row.message)


def _free(steady_s: Instant) -> ColumnElement[bool]:
    expiry_s = schema.delivery.c.claim_expiry_s
    return or_(expiry_s.is_(None), expiry_s <= steady_s)


def _data(job: Job) -> dict[str, Any]:
    """A job as `--json` shows it, but for what says only where its webhook is."""
    times_s = {
        "create_time": job.create_time_s,
        "start_time": job.start_time_s,
        "end_time": job.end_time_s,
    }
    return {
        "name": job.name,
        "display_name": job.display_name,
        "state": job.state,
        "priority": job.priority,
        "shot_count": job.shot_count,
        "succeeded_shot_count": job.counts.succeeded,
        "failed_shot_count": job.counts.failed,
        "cancelled_shot_count": job.counts.cancelled,
        **{name: None if t is None else iso_time(t) for name, t in times_s.items()},
        "notice": "",
        "tenant": job.tenant,
    }
