"""Workers that are given no shots, because of what happened to those that they had."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from farm.jobs.retry import AGAINST_WORKER, CordonReason, MemoryProfile, Reason, is_suspect
from farm.jobs.states import ShotState
from farm.store import schema
from farm.store.moves import wake_watchers
from farm.store.records import ShotKey, storable
from farm.store.workers import WORKERS


def cordon(conn: Connection, worker_id: str, reason: CordonReason, message: str) -> None:
    """Gives a worker no more shots; the first reason stays."""
    worker = schema.worker
    cordoned = (
        update(worker)
        .where(worker.c.id == worker_id, worker.c.cordon_reason.is_(None))
        .values(cordon_reason=reason, cordon_message=storable(message))
    )
    if conn.execute(cordoned).rowcount:
        wake_watchers(conn, WORKERS)


def cordon_at_start(conn: Connection, worker_id: str, message: str) -> None:
    """Cordons a worker whose canary failed, unless an operator has let it work all the same."""
    worker = schema.worker
    lifted = select(worker.c.cordon_lifted_time_s).where(worker.c.id == worker_id)
    if conn.execute(lifted).scalar() is None:
        cordon(conn, worker_id, CordonReason.CANARY_FAILED, message)


def uncordon(conn: Connection, worker_id: str, now_s: float) -> bool:
    """Lets a worker take shots again, and forgives what was; False: no such worker is known."""
    worker = schema.worker
    lifted = (
        update(worker)
        .where(worker.c.id == worker_id, worker.c.gateway.is_not(None))
        .values(cordon_reason=None, cordon_message=None, cordon_lifted_time_s=now_s)
    )
    wake_watchers(conn, WORKERS)
    return bool(conn.execute(lifted).rowcount)


def look_at_losers(conn: Connection, shot: ShotKey, winner: str) -> None:
    """Cordons those workers that failed a shot, and others before, which succeeded elsewhere.

    Called when `shot` has succeeded at `winner`.
    """
    attempt = schema.attempt
    losers = conn.execute(
        select(attempt.c.worker)
        .where(attempt.c.job_id == shot.job_id, attempt.c.shot_number == shot.number)
        .where(attempt.c.worker != winner, _speaks_against_worker())
        .distinct()
    ).scalars()
    for worker_id in losers.all():
        count = _lost_shots(conn, worker_id)
        if is_suspect(count):
            told = f"{count} shots failed here and succeeded elsewhere"
            cordon(conn, worker_id, CordonReason.SHOTS_FAILED, told)


def _lost_shots(conn: Connection, worker_id: str) -> int:
    """How many shots failed at a worker, since it was last forgiven, and succeeded elsewhere."""
    attempt, worker = schema.attempt, schema.worker
    won = attempt.alias()
    since_s = select(func.coalesce(func.max(worker.c.cordon_lifted_time_s), 0.0)).where(
        worker.c.id == worker_id
    )
    same_shot = and_(won.c.job_id == attempt.c.job_id, won.c.shot_number == attempt.c.shot_number)
    lost = (
        select(attempt.c.job_id, attempt.c.shot_number)
        .join(won, same_shot)
        .where(attempt.c.worker == worker_id, _speaks_against_worker())
        .where(attempt.c.claim_time_s > since_s.scalar_subquery())
        .where(won.c.outcome == ShotState.SUCCEEDED, won.c.worker != worker_id)
        .distinct()
    )
    count: int = conn.execute(select(func.count()).select_from(lost.subquery())).scalar_one()
    return count


def _speaks_against_worker() -> ColumnElement[bool]:
    """Whether an attempt's outcome does, where the shot succeeds elsewhere.

    Being out of memory does not while there is a smaller profile to try: the other worker had that.
    """
    attempt, earlier = schema.attempt, schema.attempt.alias()
    out_of_memory_before = (
        select(func.count())
        .where(earlier.c.job_id == attempt.c.job_id)
        .where(earlier.c.shot_number == attempt.c.shot_number)
        .where(earlier.c.number < attempt.c.number, earlier.c.outcome == Reason.OUT_OF_MEMORY)
        .scalar_subquery()
    )
    return and_(
        attempt.c.outcome.in_(AGAINST_WORKER),
        or_(
            attempt.c.outcome != Reason.OUT_OF_MEMORY,
            out_of_memory_before >= MemoryProfile.SMALLEST,
        ),
    )
