"""How much there is now, in the whole farm: what metrics show of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from farm.jobs.states import ShotState, Wish
from farm.jobs.tiers import model_of
from farm.store import schema, workers
from farm.store.clock import Instant


@dataclass(frozen=True)
class Levels:
    """One look at the store."""

    shots: Mapping[tuple[str, str], int]  # by state, QUEUED or RENDERING, and model
    queued_since_s: Mapping[str, float]  # by model: the oldest shot that may be claimed
    workers: Mapping[tuple[str, str], int]  # by state and model; "" while it serves none


def read(conn: Connection, steady_s: Instant, silence_limit_s: float) -> Levels:
    """What there is. It takes as long as there are shots that wait or render."""
    shot, job = schema.shot, schema.job
    queued_s = func.coalesce(shot.c.queue_time_s, job.c.create_time_s)
    claimable = (shot.c.state == ShotState.QUEUED) & (job.c.wish == Wish.RUN)
    rows = conn.execute(
        select(
            shot.c.state,
            shot.c.model,
            func.count().label("n"),
            func.min(case((claimable, queued_s))).label("since_s"),
        )
        .join(job, job.c.id == shot.c.job_id)
        .where(shot.c.state.in_([ShotState.QUEUED, ShotState.RENDERING]))
        .group_by(shot.c.state, shot.c.model)
    ).all()
    shots: Counter[tuple[str, str]] = Counter()
    queued_since_s: dict[str, float] = {}
    for row in rows:
        model = model_of(row.model)
        shots[row.state, model] += row.n
        if row.since_s is not None:
            queued_since_s[model] = min(row.since_s, queued_since_s.get(model, row.since_s))
    counted = Counter(
        (row.state(silence_limit_s), model)
        for row in workers.connected(conn, steady_s)
        for model in set(map(model_of, row.models)) or {""}
    )
    return Levels(shots, queued_since_s, workers=counted)
