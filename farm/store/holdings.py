"""What the store keeps and might collect, read for `farm.jobs.retention.choose`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection, select

from farm.jobs.retention import EndedJob, Holdings, KeptFile, KeptImage, KeptVideos
from farm.jobs.states import JobState
from farm.store import schema
from farm.store.records import image_key
from farm.store.scope import owned


def read_holdings(
    conn: Connection, files: Iterable[KeptFile], *, sees: str | None = None
) -> Holdings:
    """The jobs that have ended, images, videos, and those of `files` that no row names.

    `files` are listed before: one whose row is younger than the list is named by now, one whose
    row is still to come is young. They are nobody's: give none for a tenant.
    """
    images = _images(conn) if sees is None else _images_of(conn, sees)
    return Holdings(_ended_jobs(conn, sees), images, _orphans(conn, files), _videos(conn, sees))


def _ended_jobs(conn: Connection, sees: str | None) -> list[EndedJob]:
    job = schema.job
    query = (
        select(job.c.id, job.c.state, job.c.end_time_s)
        .where(job.c.end_time_s.is_not(None))
        .order_by(job.c.number)
    )
    rows = conn.execute(owned(query, job, sees))
    return [EndedJob(row.id, JobState(row.state), row.end_time_s) for row in rows]


def _videos(conn: Connection, sees: str | None) -> list[KeptVideos]:
    shot = schema.shot
    query = (
        select(shot.c.video_key, shot.c.video_size_bytes, shot.c.job_id)
        .where(shot.c.video_key.is_not(None))
        .order_by(shot.c.video_key)
    )
    rows = conn.execute(owned(query, shot, sees))
    counts: Counter[frozenset[str]] = Counter()
    sizes_bytes: Counter[frozenset[str]] = Counter()
    for _, naming in groupby(rows, key=attrgetter("video_key")):
        first, *others = naming
        job_ids = frozenset({first.job_id, *(row.job_id for row in others)})
        counts[job_ids] += 1
        sizes_bytes[job_ids] += first.video_size_bytes
    return [KeptVideos(job_ids, n, sizes_bytes[job_ids]) for job_ids, n in counts.items()]


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


def _images_of(conn: Connection, tenant: str) -> list[KeptImage]:
    """The images that a tenant owns, as if nobody else did."""
    image, owner, shot = schema.image, schema.image_owner, schema.shot
    users: defaultdict[str, set[str]] = defaultdict(set)
    used = select(shot.c.image_sha256, shot.c.job_id).where(shot.c.tenant == tenant).distinct()
    for row in conn.execute(used):
        users[row.image_sha256].add(row.job_id)
    rows = conn.execute(
        select(owner, image.c.size_bytes)
        .join(image, image.c.sha256 == owner.c.sha256)
        .where(owner.c.tenant == tenant)
        .order_by(owner.c.sha256)
    )
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
