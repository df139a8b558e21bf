"""The one place where shots change state: guarded update, job counters, change log."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, insert, update

from farm.jobs.states import FINAL_JOB_STATES, ShotEvent, ShotState, Wish, follow, job_state
from farm.store import schema
from farm.store.records import ShotKey
from farm.store.rows import counts_from_row

CHANGED_JOBS = "farm.changed_jobs"  # in Connection.info, until the commit

_COUNTERS = {
    ShotState.QUEUED: schema.job.c.queued_count,
    ShotState.RENDERING: schema.job.c.rendering_count,
    ShotState.SUCCEEDED: schema.job.c.succeeded_count,
    ShotState.FAILED: schema.job.c.failed_count,
    ShotState.CANCELLED: schema.job.c.cancelled_count,
}


def move(
    conn: Connection,
    key: ShotKey,
    before: ShotState,
    event: ShotEvent,
    *guards: ColumnElement[bool],
    now_s: float,
    **values: Any,
) -> bool:
    """Takes one shot from `before` to where `event` leads, if it is still there.

    `guards` narrow the update further (attempt and token); `values` are set with it. Returns
    False, and changes nothing, when no row met every guard: somebody else was first.
    """
    after = follow(before, event)
    shot = schema.shot
    moved = conn.execute(
        update(shot)
        .where(shot.c.job_id == key.job_id, shot.c.number == key.number)
        .where(shot.c.state == before, *guards)
        .values(state=after, **values)
    )
    if not moved.rowcount:
        return False
    count(conn, key.job_id, before, after, 1, now_s)
    record_change(conn, key.job_id, key.number)
    return True


def count(
    conn: Connection, job_id: str, before: ShotState, after: ShotState, n: int, now_s: float
) -> None:
    """Books `n` shots from `before` to `after` in the job's counters and derives its state."""
    counted = {_COUNTERS[before]: _COUNTERS[before] - n, _COUNTERS[after]: _COUNTERS[after] + n}
    _change_job(conn, job_id, counted, now_s, starts=after is ShotState.RENDERING)


def wish(conn: Connection, job_id: str, wanted: Wish, now_s: float) -> None:
    """Notes what the job's owner asks for, which every claim looks at, and derives its state."""
    _change_job(conn, job_id, {schema.job.c.wish: wanted}, now_s)


def _change_job(
    conn: Connection,
    job_id: str,
    values: dict[Column[Any], Any],
    now_s: float,
    *,
    starts: bool = False,
) -> None:
    job = schema.job
    row = conn.execute(update(job).where(job.c.id == job_id).values(values).returning(*job.c)).one()
    start_time_s = row.start_time_s
    if starts and start_time_s is None:
        start_time_s = now_s
    state = job_state(counts_from_row(row), started=start_time_s is not None, wish=Wish(row.wish))
    if state != row.state or start_time_s != row.start_time_s:
        end_time_s = now_s if state in FINAL_JOB_STATES else None
        conn.execute(
            update(job)
            .where(job.c.id == job_id)
            .values(state=state, start_time_s=start_time_s, end_time_s=end_time_s)
        )
    record_change(conn, job_id, None)


def record_change(conn: Connection, job_id: str, shot_number: int | None) -> None:
    """Appends to the change log: the job (shot_number None) or one of its shots changed."""
    conn.execute(insert(schema.change).values(job_id=job_id, shot_number=shot_number))
    wake_watchers(conn, job_id)


def wake_watchers(conn: Connection, job_id: str) -> None:
    """Has the job's watchers look again after the commit, at every gateway."""
    conn.info.setdefault(CHANGED_JOBS, set()).add(job_id)
