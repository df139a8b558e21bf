"""Deletes rows first and files after them, so that no row ever names a file that is gone.

The transaction that deletes rows notes which files are to go; `sweep` deletes files and notes under
the same lock, and goes on after a crash where it was. A row comes back only with its file: see
`Store.publish`, and docs/decisions/0011.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy import Connection, delete, exists, func, insert, select

from farm.jobs.retention import EndedJob
from farm.jobs.states import FINAL_JOB_STATES
from farm.store import schema
from farm.store.errors import JobNotEnded
from farm.store.jobs import get_job
from farm.store.moves import wake_watchers
from farm.store.records import image_key

_PART = 100  # files or images a transaction
_IMAGES = image_key("")


def delete_job(conn: Connection, job_id: str, *, unwanted_since_s: float) -> set[str]:
    """Deletes an ended job with its shots, and notes its videos for `sweep`.

    So are those of its images that no other job uses and nobody has asked for since; returns which.
    Raises NotFound, and JobNotEnded for a job that has not ended.
    """
    job = get_job(conn, job_id)
    if job.state not in FINAL_JOB_STATES:
        raise JobNotEnded(f"{job.name} is {job.state}; cancel it before you delete it")
    shot = schema.shot
    rows = conn.execute(
        select(shot.c.video_key, shot.c.image_sha256).where(shot.c.job_id == job_id)
    ).all()
    _note(conn, {row.video_key for row in rows if row.video_key is not None})
    conn.execute(delete(schema.job).where(schema.job.c.id == job_id))
    wake_watchers(conn, job_id)
    images = {row.image_sha256 for row in rows}
    return delete_images(conn, images, unwanted_since_s=unwanted_since_s)


def delete_chosen(
    conn: Connection, chosen: EndedJob, *, unwanted_since_s: float
) -> set[str] | None:
    """As `delete_job`; None where the job was requeued or deleted after it was chosen."""
    job = schema.job
    same = select(job.c.id).where(
        job.c.id == chosen.id,
        job.c.state == chosen.state,
        job.c.end_time_s == chosen.end_time_s,
    )
    if conn.execute(same).one_or_none() is None:
        return None
    return delete_job(conn, chosen.id, unwanted_since_s=unwanted_since_s)


def delete_images(
    conn: Connection, sha256s: Collection[str], *, unwanted_since_s: float
) -> set[str]:
    """Deletes those images that no shot uses and nobody has asked for since; returns which."""
    image, shot = schema.image, schema.shot
    wanted_s = func.coalesce(image.c.want_time_s, image.c.create_time_s)
    deleted: set[str] = set()
    for part in parts(sha256s):
        gone = conn.execute(
            delete(image)
            .where(image.c.sha256.in_(part), wanted_s <= unwanted_since_s)
            .where(~exists().where(shot.c.image_sha256 == image.c.sha256))
            .returning(image.c.sha256)
        )
        deleted |= set(gone.scalars())
    _note(conn, {image_key(sha256) for sha256 in deleted})
    return deleted


def may_return(key: str) -> bool:
    """Whether a row may name a file again whose deletion is noted: a video's job is gone."""
    return key.startswith(_IMAGES)


def is_noted(conn: Connection, key: str) -> bool:
    """Whether the file is to go, unless a row names it again."""
    note = schema.deletion
    return conn.execute(select(note.c.key).where(note.c.key == key)).one_or_none() is not None


def sweep(conn: Connection, remove: Callable[..., None]) -> int:
    """Deletes some of the files that were noted, and their notes; returns how many."""
    note = schema.deletion
    keys = list(conn.execute(select(note.c.key).order_by(note.c.key).limit(_PART)).scalars())
    remove_unnamed(conn, keys, remove)
    conn.execute(delete(note).where(note.c.key.in_(keys)))
    return len(keys)


def remove_unnamed(
    conn: Connection, keys: Collection[str], remove: Callable[..., None]
) -> set[str]:
    """Has `remove(*keys)` delete those files that no row names; returns which.

    No row can appear meanwhile.
    """
    unnamed = {key for key in keys if not _is_named(conn, key)}
    remove(*sorted(unnamed))
    return unnamed


def parts(of: Collection[str]) -> list[list[str]]:
    """What a transaction may hold of them, at a time."""
    ordered = sorted(of)
    return [ordered[n : n + _PART] for n in range(0, len(ordered), _PART)]


def _note(conn: Connection, keys: Collection[str]) -> None:
    note = schema.deletion
    for part in parts(keys):
        noted = set(conn.execute(select(note.c.key).where(note.c.key.in_(part))).scalars())
        new = [{"key": key} for key in part if key not in noted]
        if new:
            conn.execute(insert(note), new)


def _is_named(conn: Connection, key: str) -> bool:
    if key.startswith(_IMAGES):
        found = select(schema.image.c.sha256).where(
            schema.image.c.sha256 == key.removeprefix(_IMAGES)
        )
    else:
        shot = schema.shot
        job_id = key.split("/")[1] if "/" in key else ""
        found = select(shot.c.number).where(shot.c.job_id == job_id, shot.c.video_key == key)
    return conn.execute(found.limit(1)).one_or_none() is not None
