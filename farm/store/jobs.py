"""Jobs and their shots: create, read, update, pause, resume, cancel.

`sees` is the tenant whose jobs there are for the caller; see `farm.store.scope`.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection

from sqlalchemy import Connection, bindparam, insert, select, update

from farm.jobs.states import (
    FINAL_JOB_STATES,
    ShotCounts,
    ShotEvent,
    ShotState,
    Wish,
    follow,
    job_state,
)
from farm.jobs.tiers import served_as
from farm.jobs.trace_context import TRACED_SHOTS
from farm.store import cached, inputs, quotas, schema
from farm.store.errors import JobCancelling, NotFound, RequestConflict
from farm.store.moves import (
    count,
    note_ending,
    record_change,
    record_changes,
    wake_watchers,
    wish,
)
from farm.store.records import HeldLease, Job, Lease, NewJob, Shot, ShotKey, params_to_json
from farm.store.rows import job_from_row, shot_from_row
from farm.store.scope import owned, stored_request_id

# Without vowels and look-alikes: short names that people can read out and that spell nothing.
_ID_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
_ID_LENGTH = 10

# Made once: it is asked for with every video that comes.
_SHOT = select(schema.shot).where(
    schema.shot.c.job_id == bindparam("job_id"), schema.shot.c.number == bindparam("number")
)
_SHOT_SEEN = _SHOT.where(schema.shot.c.tenant == bindparam("sees"))


# Every row of one INSERT has the same columns.
_NO_VIDEO = dict.fromkeys(
    (
        "cached_from",
        "video_key",
        "video_sha256",
        "video_size_bytes",
        "video_frame_count",
    )
)


def create_job(
    conn: Connection,
    new: NewJob,
    now_s: float,
    *,
    sees: str | None = None,
    share_cache: bool = False,
) -> Job:
    """Stores a job and all its shots, or returns the one that this request_id made before.

    Shots whose video is there already, by their `cache_key`, have SUCCEEDED with it: one of the
    same tenant's, or with `share_cache` anybody's.
    Raises RequestConflict where that one had other content, NotFound for a missing image, and
    QuotaExceeded.
    """
    if repeated := find_repeated(conn, new):
        return repeated
    images = {shot.image_sha256 for shot in new.shots}
    inputs.require_images(conn, images, new.tenant, now_s, sees=sees)
    keys = {shot.cache_key for shot in new.shots if shot.cache_key}
    videos = cached.find(conn, keys, new.tenant, shared=share_cache)
    there = [videos.get(shot.cache_key or "") for shot in new.shots]
    succeeded = sum(video is not None for video in there)
    counts = ShotCounts(queued=len(new.shots) - succeeded, succeeded=succeeded)
    quotas.check_new_shots(conn, new.tenant, counts.queued, now_s)
    state = job_state(counts, started=False, wish=Wish.RUN)
    ended_s = now_s if state in FINAL_JOB_STATES else None
    row = conn.execute(
        insert(schema.job)
        .values(
            id="".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH)),
            display_name=new.display_name,
            priority=new.priority,
            wish=Wish.RUN,
            state=state,
            request_id=stored_request_id(new.request_id, new.tenant),
            request_sha256=new.request_sha256,
            create_time_s=now_s,
            start_time_s=ended_s,
            end_time_s=ended_s,
            shot_count=len(new.shots),
            queued_count=counts.queued,
            rendering_count=0,
            succeeded_count=counts.succeeded,
            failed_count=0,
            cancelled_count=0,
            webhook=new.webhook,
            tenant=new.tenant,
        )
        .returning(*schema.job.c)
    ).one()
    traced = range(1, TRACED_SHOTS + 1) if new.traceparent else ()
    conn.execute(
        insert(schema.shot),
        [
            {
                "job_id": row.id,
                "number": number,
                "job_number": row.number,
                "priority": new.priority,
                "state": ShotState.SUCCEEDED if video else ShotState.QUEUED,
                "display_name": shot.display_name,
                "output_name": shot.output_name,
                "image_sha256": shot.image_sha256,
                "model": served_as(shot.params.model or "", shot.params.tier),
                "params": params_to_json(shot.params),
                "attempt_count": 0,
                "charged_attempt_count": 0,
                "queue_time_s": None if video else now_s,
                "tenant": new.tenant,
                "traceparent": new.traceparent if number in traced else None,
                "trace_time_s": now_s if number in traced else None,
                **(video or _NO_VIDEO),
            }
            for number, (shot, video) in enumerate(zip(new.shots, there, strict=True), start=1)
        ],
    )
    record_change(conn, row.id, None)
    job = job_from_row(row)
    if job.state in FINAL_JOB_STATES:
        note_ending(conn, job)
    return job


def find_repeated(conn: Connection, new: NewJob) -> Job | None:
    """The job that its tenant made by this request_id before. Raises as `create_job`."""
    if new.request_id is None:
        return None
    request_id = stored_request_id(new.request_id, new.tenant)
    query = select(schema.job).where(schema.job.c.request_id == request_id)
    known = conn.execute(owned(query, schema.job, new.tenant)).one_or_none()
    if known is None:
        return None
    if known.request_sha256 != new.request_sha256:
        raise RequestConflict(
            f"request_id {new.request_id} was used for jobs/{known.id}, whose content "
            "is different; send a new request_id for a new job"
        )
    return job_from_row(known)


def get_job(conn: Connection, job_id: str, *, sees: str | None = None) -> Job:
    """One job. Raises NotFound."""
    query = owned(select(schema.job).where(schema.job.c.id == job_id), schema.job, sees)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise NotFound("job", f"jobs/{job_id}")
    return job_from_row(row)


def list_jobs(
    conn: Connection,
    limit: int,
    behind: int | None = None,
    *,
    oldest_first: bool = False,
    sees: str | None = None,
) -> list[Job]:
    """Jobs, newest first or oldest first, those behind the one numbered `behind` in that order."""
    number = schema.job.c.number
    query = select(schema.job).order_by(number if oldest_first else number.desc()).limit(limit)
    query = owned(query, schema.job, sees)
    if behind is not None:
        query = query.where(number > behind if oldest_first else number < behind)
    return [job_from_row(row) for row in conn.execute(query)]


def get_shot(conn: Connection, key: ShotKey, *, sees: str | None = None) -> Shot:
    """One shot. Raises NotFound."""
    query = _SHOT if sees is None else _SHOT_SEEN
    given = {"job_id": key.job_id, "number": key.number, "sees": sees}
    row = conn.execute(query, given).one_or_none()
    if row is None:
        raise NotFound("shot", str(key))
    return shot_from_row(row)


def list_shots(
    conn: Connection, job_id: str, limit: int, after: int = 0, *, sees: str | None = None
) -> list[Shot]:
    """A job's shots in order, those numbered above `after`. Raises NotFound for the job."""
    get_job(conn, job_id, sees=sees)
    shot = schema.shot
    query = (
        select(shot)
        .where(shot.c.job_id == job_id, shot.c.number > after)
        .order_by(shot.c.number)
        .limit(limit)
    )
    return [shot_from_row(row) for row in conn.execute(query)]


def waiting_models(conn: Connection, job_id: str) -> set[str]:
    """The models of a job's queued shots."""
    shot = schema.shot
    query = select(shot.c.model).where(shot.c.job_id == job_id, shot.c.state == ShotState.QUEUED)
    return set(conn.execute(query.distinct()).scalars())


def update_job(
    conn: Connection,
    job_id: str,
    *,
    display_name: str | None = None,
    priority: int | None = None,
    sees: str | None = None,
) -> Job:
    """Changes what is given, in the job and in every shot of it. Raises NotFound."""
    get_job(conn, job_id, sees=sees)
    given = {"display_name": display_name, "priority": priority}
    values = {name: value for name, value in given.items() if value is not None}
    job, shot = schema.job, schema.shot
    conn.execute(update(job).where(job.c.id == job_id).values(values))
    if priority is not None:
        conn.execute(
            update(shot)
            .where(shot.c.job_id == job_id, shot.c.priority != priority)
            .values(priority=priority)
        )
    found = get_job(conn, job_id)
    record_change(conn, job_id, None)
    return found


def pause_job(conn: Connection, job_id: str, now_s: float, *, sees: str | None = None) -> Job:
    """Has nothing of a job claimed from now on; a job that has ended stays as it is.

    Raises NotFound, JobCancelling.
    """
    return _wish(conn, job_id, Wish.PAUSE, now_s, sees)


def resume_job(conn: Connection, job_id: str, now_s: float, *, sees: str | None = None) -> Job:
    """Lets a paused job go on; one that has ended stays as it is. Raises as `pause_job`."""
    return _wish(conn, job_id, Wish.RUN, now_s, sees)


def _wish(conn: Connection, job_id: str, wanted: Wish, now_s: float, sees: str | None) -> Job:
    job = get_job(conn, job_id, sees=sees)
    if job.state in FINAL_JOB_STATES or job.wish is wanted:
        return job
    if job.wish is Wish.CANCEL:
        raise JobCancelling(
            f"{job.name} is {job.state}; wait until it has ended, then requeue its cancelled shots"
        )
    wish(conn, job_id, wanted, now_s)
    return get_job(conn, job_id)


def cancel_job(
    conn: Connection,
    job_id: str,
    now_s: float,
    numbers: Collection[int] = (),
    *,
    sees: str | None = None,
) -> tuple[Job, list[HeldLease]]:
    """Ends a job's queued shots; returns it with the leases whose workers must be told.

    With `numbers`, those shots alone, and the job goes on with the others. What has ended stays as
    it is. Raises NotFound.
    """
    job = get_job(conn, job_id, sees=sees)
    if missing := [number for number in numbers if not 1 <= number <= job.shot_count]:
        raise NotFound("shot", str(ShotKey(job_id, min(missing))))
    if job.state in FINAL_JOB_STATES:
        return job, []
    shot = schema.shot
    meant = [shot.c.job_id == job_id]
    if numbers:  # a job has fewer shots than a statement may have parameters
        meant.append(shot.c.number.in_(sorted(numbers)))
    else:
        wish(conn, job_id, Wish.CANCEL, now_s)
    queued = conn.execute(
        update(shot)
        .where(*meant, shot.c.state == ShotState.QUEUED)
        .values(state=follow(ShotState.QUEUED, ShotEvent.CANCEL))
        .returning(shot.c.number)
    ).scalars()
    ended = sorted(queued)
    record_changes(conn, job_id, ended)
    count(conn, job_id, ShotState.QUEUED, ShotState.CANCELLED, len(ended), now_s)
    rendering = conn.execute(
        update(shot)
        .where(*meant, shot.c.state == ShotState.RENDERING)
        .values(wish=Wish.CANCEL)
        .returning(shot.c.number, shot.c.attempt_count, shot.c.token, shot.c.worker)
    )
    # The gateways of these workers hear of it as watchers do.
    wake_watchers(conn, job_id)
    held = [
        HeldLease(Lease(ShotKey(job_id, row.number), row.attempt_count, row.token), row.worker)
        for row in rendering
    ]
    return get_job(conn, job_id), held
