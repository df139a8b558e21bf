"""The change log: what WatchJob reads."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from farm.jobs.states import ShotState
from farm.store import schema
from farm.store.jobs import get_job, list_shots
from farm.store.records import Job, Shot
from farm.store.rows import shot_from_row

_PAGE = 1000


@dataclass(frozen=True)
class Changes:
    """What changed in one job, as it is now, and how far the log was read."""

    job: Job
    shots: list[Shot]
    seq: int  # pass it to `changes_since` to read on
    more: bool  # the log goes on behind `seq`


def snapshot(
    conn: Connection, job_id: str, after_shot: int = 0, *, sees: str | None = None
) -> Changes:
    """The job and a page of its shots as they are. Raises NotFound.

    Read the pages in one transaction or from one `seq`: a shot that changes between two pages
    is in the log behind the first page's `seq`.
    """
    seq = conn.execute(
        select(func.coalesce(func.max(schema.change.c.seq), 0)).where(
            schema.change.c.job_id == job_id
        )
    ).scalar_one()
    job = get_job(conn, job_id, sees=sees)
    shots = list_shots(conn, job_id, _PAGE, after_shot)
    return Changes(job, shots, seq, more=len(shots) == _PAGE)


def newest(conn: Connection) -> int:
    """How far the log goes, over all jobs."""
    seq: int = conn.execute(select(func.coalesce(func.max(schema.change.c.seq), 0))).scalar_one()
    return seq


def rendering(conn: Connection, job_id: str, *, sees: str | None = None) -> list[Shot]:
    """The shots of a job that render now. Raises NotFound."""
    get_job(conn, job_id, sees=sees)
    shot = schema.shot
    query = select(shot).where(shot.c.job_id == job_id, shot.c.state == ShotState.RENDERING)
    return [shot_from_row(row) for row in conn.execute(query.order_by(shot.c.number))]


def changes_since(conn: Connection, job_id: str, seq: int, *, sees: str | None = None) -> Changes:
    """The job, and every shot that changed behind `seq`, as they are now. Raises NotFound."""
    job = get_job(conn, job_id, sees=sees)
    change, shot = schema.change, schema.shot
    rows = conn.execute(
        select(change.c.seq, change.c.shot_number)
        .where(change.c.job_id == job_id, change.c.seq > seq)
        .order_by(change.c.seq)
        .limit(_PAGE)
    ).all()
    numbers = sorted({row.shot_number for row in rows if row.shot_number is not None})
    shots = []
    for start in range(0, len(numbers), 500):
        part = numbers[start : start + 500]
        query = select(shot).where(shot.c.job_id == job_id, shot.c.number.in_(part))
        shots += [shot_from_row(row) for row in conn.execute(query.order_by(shot.c.number))]
    return Changes(job, shots, rows[-1].seq if rows else seq, more=len(rows) == _PAGE)
