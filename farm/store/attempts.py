"""What became of each try at a shot."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, Row, and_, bindparam, case, select, tuple_

from farm.jobs.states import ShotState
from farm.store import schema
from farm.store.jobs import get_job, get_shot
from farm.store.records import Attempt, Lease, ShotKey, Traced

_TRACED: tuple[Column[Any], ...] = (
    schema.shot.c.job_id,
    schema.shot.c.number,
    schema.shot.c.state,
    schema.shot.c.attempt_count,
    schema.shot.c.model,
    schema.shot.c.traceparent,
    schema.shot.c.trace_time_s,
    schema.shot.c.error_reason,
)


# Made once: to make it costs more than to run it.
_ENDED = (
    select(
        *_TRACED,
        schema.attempt.c.worker,
        schema.attempt.c.claim_time_s,
        schema.attempt.c.start_time_s,
        schema.attempt.c.end_time_s,
        schema.attempt.c.outcome,
    )
    .join(
        schema.attempt,
        and_(
            schema.attempt.c.job_id == schema.shot.c.job_id,
            schema.attempt.c.shot_number == schema.shot.c.number,
        ),
    )
    .where(
        schema.shot.c.job_id == bindparam("of_job"),
        schema.shot.c.number == bindparam("of_shot"),
        schema.attempt.c.number == bindparam("of_attempt"),
        schema.shot.c.traceparent.is_not(None),
    )
)


def list_attempts(
    conn: Connection,
    job_id: str,
    shot_number: int | None,
    limit: int,
    after: tuple[int, int] = (0, 0),
    *,
    log: bool = False,
    sees: str | None = None,
) -> list[Attempt]:
    """Attempts of a job, or of one shot of it, in order; those after (shot number, attempt).

    With `log`, what their workers logged as well, which is long.
    Raises NotFound for the job or shot.
    """
    attempt, shot = schema.attempt, schema.shot
    if shot_number is None:
        get_job(conn, job_id, sees=sees)
    else:
        get_shot(conn, ShotKey(job_id, shot_number), sees=sees)
    rendered = case((attempt.c.outcome == ShotState.SUCCEEDED, shot.c.render_duration_s))
    query = (
        select(
            *(column for column in attempt.c if log or column is not attempt.c.log),
            rendered.label("render_duration_s"),
        )
        .join(
            shot,
            and_(shot.c.job_id == attempt.c.job_id, shot.c.number == attempt.c.shot_number),
        )
        .where(attempt.c.job_id == job_id)
        .where(tuple_(attempt.c.shot_number, attempt.c.number) > after)
        .order_by(attempt.c.shot_number, attempt.c.number)
        .limit(limit)
    )
    if shot_number is not None:
        query = query.where(attempt.c.shot_number == shot_number)
    return [
        Attempt(
            shot=ShotKey(row.job_id, row.shot_number),
            number=row.number,
            worker=row.worker,
            claim_time_s=row.claim_time_s,
            start_time_s=row.start_time_s,
            end_time_s=row.end_time_s,
            outcome=row.outcome,
            message=row.message,
            render_duration_s=row.render_duration_s,
            log=row.log if log else None,
        )
        for row in conn.execute(query)
    ]


def ended(conn: Connection, lease: Lease) -> tuple[Traced, Attempt] | None:
    """A shot whose spans are wanted, and one attempt of it; None where nobody wants them now."""
    named = {
        "of_job": lease.shot.job_id,
        "of_shot": lease.shot.number,
        "of_attempt": lease.attempt,
    }
    row: Any = conn.execute(_ENDED, named).one_or_none()
    if row is None:
        return None
    times = (row.claim_time_s, row.start_time_s, row.end_time_s)
    told = Attempt(lease.shot, lease.attempt, row.worker, *times, row.outcome, None, None)
    return _traced(row), told


def traced(conn: Connection, job_id: str, state: ShotState) -> list[Traced]:
    """The shots of a job in one state whose spans are wanted."""
    shot = schema.shot
    rows = conn.execute(
        select(*_TRACED)
        .where(shot.c.job_id == job_id, shot.c.state == state)
        .where(shot.c.traceparent.is_not(None))
    )
    return [_traced(row) for row in rows]


def _traced(row: Row[Any]) -> Traced:
    return Traced(
        ShotKey(row.job_id, row.number),
        ShotState(row.state),
        row.attempt_count,
        row.model,
        row.traceparent,
        row.trace_time_s,
        row.error_reason,
    )
