"""What was rendered lately and what waits, counted by what it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, func, or_, select

from farm.jobs.estimate import Work, work_of
from farm.jobs.states import ShotState, Wish
from farm.store import schema
from farm.store.records import params_from_json
from farm.store.scope import owned

_JOBS, _SHOTS = 100, 2000  # the newest: what the farm is like today


def rendered(conn: Connection, *, sees: str | None = None) -> list[tuple[Work, float]]:
    """Clips of the newest jobs, and the seconds that each took its worker."""
    job, shot = schema.job, schema.shot
    newest = (
        select(job.c.id)
        .where(job.c.succeeded_count > 0)
        # One whose videos were all there ended when it was created.
        .where(or_(job.c.end_time_s.is_(None), job.c.end_time_s > job.c.create_time_s))
        .order_by(job.c.number.desc())
        .limit(_JOBS)
    )
    jobs = owned(newest, job, sees).subquery()
    rows = conn.execute(
        select(shot.c.params, shot.c.render_duration_s)
        .join(jobs, jobs.c.id == shot.c.job_id)
        .where(shot.c.state == ShotState.SUCCEEDED, shot.c.render_duration_s.is_not(None))
        .order_by(shot.c.job_number.desc(), shot.c.number.desc())
        .limit(_SHOTS)
    )
    return [(work_of(params_from_json(row.params)), row.render_duration_s) for row in rows]


def waiting(
    conn: Connection, models: Collection[str], priority: int, *, sees: str | None = None
) -> Counter[Work]:
    """Shots of `models`, as they are served, that go before a new job of this priority.

    Those that render are among them.
    """
    job, shot = schema.job, schema.shot
    wanted = shot.c.params
    fields = (
        wanted["width_px"].as_integer(),
        wanted["height_px"].as_integer(),
        wanted["frame_count"].as_integer(),
        wanted["step_count"].as_integer(),
    )
    kind = (shot.c.model, *(field.label(f"n{i}") for i, field in enumerate(fields)))
    query = (
        select(*kind, func.count())
        .join(job, job.c.id == shot.c.job_id)
        .where(shot.c.state.in_([ShotState.QUEUED, ShotState.RENDERING]))
        .where(shot.c.model.in_(models), shot.c.priority >= priority)
        .where(job.c.wish == Wish.RUN)
        .group_by(*kind)
    )
    rows = conn.execute(owned(query, shot, sees))
    return Counter({Work(*row[:-1]): row[-1] for row in rows})
