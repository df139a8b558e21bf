"""What there is for workers to do, and which of them do it: by this, groups are scaled."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, exists, func, literal, select

from farm.jobs.states import ShotState, Wish
from farm.store import quotas, schema
from farm.store.clock import Instant


@dataclass(frozen=True)
class Post:
    """A worker that stays: it takes shots, or has its place without doing so."""

    about: bytes
    busy: bool  # it holds shots
    withdrawn: bool  # it is given none: cordoned, or drained by an operator


def queued_count(conn: Connection, served: Collection[str], limit: int, now_s: float) -> int:
    """How many shots may be claimed by who serves this, counted up to `limit`: no quota holds them.

    See farm.jobs.tiers for what is served.
    """
    shot, job, tenant = schema.shot, schema.job, schema.tenant
    waiting = (
        select(literal(1))
        .join_from(shot, job, job.c.id == shot.c.job_id)
        .where(shot.c.state == ShotState.QUEUED, shot.c.model.in_(served), job.c.wish == Wish.RUN)
        .where(shot.c.tenant.in_(select(tenant.c.name).where(quotas.MAY_START)))
        .limit(limit)
    )
    query = select(func.count()).select_from(waiting.subquery())
    return conn.execute(query, quotas.at(now_s)).scalar_one()


def posts(conn: Connection, heard_since_s: Instant) -> list[Post]:
    """The workers that were heard of since and do not leave by themselves.

    One without a session counts too: it may come back with its shots.
    """
    worker, shot = schema.worker, schema.shot
    busy = exists().where(and_(shot.c.worker == worker.c.id, shot.c.state == ShotState.RENDERING))
    withdrawn = worker.c.drain_wanted | worker.c.cordon_reason.is_not(None)
    stays = (worker.c.state != "DRAINING") | worker.c.drain_wanted
    rows = conn.execute(
        select(worker.c.about, busy.label("busy"), withdrawn.label("withdrawn"))
        .where(worker.c.heard_s >= heard_since_s, stays)
        .order_by(worker.c.id)
    )
    return [Post(row.about, bool(row.busy), bool(row.withdrawn)) for row in rows]
