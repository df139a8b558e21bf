"""What the store keeps and might collect, read for `farm.jobs.retention.choose`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from farm.jobs.retention import EndedJob, Holdings, KeptFile, KeptImage
from farm.jobs.states import JobState
from farm.store import schema
from farm.store.records import image_key


def read_holdings(conn: Connection, files: Iterable[KeptFile]) -> Holdings:
    """The jobs that have ended, the images, and those of `files` that no row names.

    `files` are listed before: one whose row is younger than the list is named by now, one whose
    row is still to come is young.
    """
    return Holdings(_ended_jobs(conn), _images(conn), _orphans(conn, files))


def _ended_jobs(conn: Connection) -> list[EndedJob]:
    job, shot = schema.job, schema.shot
    videos = (
        select(
            shot.c.job_id,
            func.count().label("video_count"),
            func.sum(shot.c.video_size_bytes).label("video_size_bytes"),
        )
        .where(shot.c.video_key.is_not(None))
        .group_by(shot.c.job_id)
        .subquery()
    )
    rows = conn.execute(
        select(
            job.c.id, job.c.state, job.c.end_time_s, videos.c.video_count, videos.c.video_size_bytes
        )
        .join(videos, videos.c.job_id == job.c.id, isouter=True)
        .where(job.c.end_time_s.is_not(None))
        .order_by(job.c.number)
    )
    return [
        EndedJob(
            row.id,
            JobState(row.state),
            row.end_time_s,
            row.video_count or 0,
            int(row.video_size_bytes or 0),
        )
        for row in rows
    ]


def _images(conn: Connection) -> list[KeptImage]:
    image, shot = schema.image, schema.shot
    users: defaultdict[str, set[str]] = defaultdict(set)
    for row in conn.execute(select(shot.c.image_sha256, shot.c.job_id).distinct()):
        users[row.image_sha256].add(row.job_id)
    rows = conn.execute(select(image).order_by(image.c.sha256))
    return [
        KeptImage(
            row.sha256,
            row.size_bytes,
            row.create_time_s if row.want_time_s is None else row.want_time_s,
            frozenset(users[row.sha256]),
        )
        for row in rows
    ]


def _orphans(conn: Connection, files: Iterable[KeptFile]) -> list[KeptFile]:
    found = {file.key: file for file in files}
    shot = schema.shot
    for key in conn.execute(
        select(shot.c.video_key).where(shot.c.video_key.is_not(None))
    ).scalars():
        found.pop(key or "", None)
    for sha256 in conn.execute(select(schema.image.c.sha256)).scalars():
        found.pop(image_key(sha256), None)
    return list(found.values())
