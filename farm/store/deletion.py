"""Deletes rows first and files after them, so that no row ever names a file that is gone.

The transaction that deletes rows notes which files are to go. Whoever then deletes files claims
their notes first and removes the notes afterwards; between the two transactions nobody commits a
row for such a file. See `Store.sweep` and `publish`, and docs/decisions/0011.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, update

from farm.jobs.retention import EndedJob
from farm.jobs.states import FINAL_JOB_STATES
from farm.store import schema
from farm.store.clock import Instant
from farm.store.errors import JobNotEnded
from farm.store.jobs import get_job
from farm.store.moves import wake_watchers
from farm.store.records import image_key
from farm.store.scope import owned

_PART = 100  # files or images a transaction
_IMAGES = image_key("")
# Far longer than the deletion of _PART files is tried for: afterwards it is dead, not slow.
_CLAIM_S = 300.0


@dataclass(frozen=True)
class Claim:
    """Files that one gateway deletes now."""

    token: str
    keys: list[str]


def delete_job(
    conn: Connection, job_id: str, *, unwanted_since_s: float, sees: str | None = None
) -> set[str]:
    """Deletes an ended job with its shots, and notes its videos for `claim`.

    So are those of its images that no other job uses and nobody has asked for since; returns which,
    as `delete_images`. Raises NotFound, and JobNotEnded for a job that has not ended.
    """
    job = get_job(conn, job_id, sees=sees)
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
    return delete_images(conn, images, unwanted_since_s=unwanted_since_s, sees=sees)


def delete_chosen(
    conn: Connection, chosen: EndedJob, *, unwanted_since_s: float, sees: str | None = None
) -> set[str] | None:
    """As `delete_job`; None where the job was requeued or deleted after it was chosen."""
    job = schema.job
    same = select(job.c.id).where(
        job.c.id == chosen.id,
        job.c.state == chosen.state,
        job.c.end_time_s == chosen.end_time_s,
    )
    if conn.execute(owned(same, job, sees)).one_or_none() is None:
        return None
    return delete_job(conn, chosen.id, unwanted_since_s=unwanted_since_s, sees=sees)


def delete_images(
    conn: Connection,
    sha256s: Collection[str],
    *,
    unwanted_since_s: float,
    sees: str | None = None,
) -> set[str]:
    """Deletes those images that no shot uses and nobody has asked for since; returns which.

    Each owner lets go of an image by itself, and the image goes with its last. For a tenant those
    are gone that it owned: whether others still do, it does not learn.
    """
    image, owner, shot = schema.image, schema.image_owner, schema.shot
    asked_s = func.coalesce(image.c.want_time_s, image.c.create_time_s)
    wanted_s = func.coalesce(owner.c.want_time_s, owner.c.create_time_s)
    own_shot = and_(shot.c.image_sha256 == owner.c.sha256, shot.c.tenant == owner.c.tenant)
    let_go: set[str] = set()
    deleted: set[str] = set()
    for part in parts(sha256s):
        unused = delete(owner).where(owner.c.sha256.in_(part), wanted_s <= unwanted_since_s)
        unused = owned(unused, owner, sees).where(~exists().where(own_shot))
        let_go |= set(conn.execute(unused.returning(owner.c.sha256)).scalars())
        gone = conn.execute(
            delete(image)
            .where(image.c.sha256.in_(part), asked_s <= unwanted_since_s)
            .where(~exists().where(shot.c.image_sha256 == image.c.sha256))
            .where(~exists().where(owner.c.sha256 == image.c.sha256))
            .returning(image.c.sha256)
        )
        deleted |= set(gone.scalars())
    _note(conn, {image_key(sha256) for sha256 in deleted})
    return deleted if sees is None else let_go


def may_return(key: str) -> bool:
    """Whether a row may name a file again whose deletion is noted: a video's job is gone."""
    return key.startswith(_IMAGES)


def is_noted(conn: Connection, key: str) -> bool:
    """Whether the file is to go, unless a row names it again."""
    note = schema.deletion
    return conn.execute(select(note.c.key).where(note.c.key == key)).one_or_none() is not None


def is_being_deleted(conn: Connection, key: str, now_s: Instant) -> bool:
    """Whether somebody may be deleting the file just now."""
    note = schema.deletion
    claimed = select(note.c.key).where(note.c.key == key, note.c.claim_expiry_s > now_s)
    return conn.execute(claimed).one_or_none() is not None


def claim(conn: Connection, now_s: Instant) -> Claim | None:
    """Claims some of the files that were noted and that no row names again; None: there are none.

    Nobody else deletes them, and no row comes to name them, before `finish` or the claim's end.
    """
    note = schema.deletion
    free = or_(note.c.claim_expiry_s.is_(None), note.c.claim_expiry_s <= now_s)
    query = select(note.c.key).where(free).order_by(note.c.key).limit(_PART)
    while noted := conn.execute(query).scalars().all():
        keys = [key for key in noted if not _is_named(conn, key)]
        _forget(conn, set(noted) - set(keys))
        if keys:
            token = secrets.token_hex(16)
            claimed = update(note).where(note.c.key.in_(keys))
            conn.execute(claimed.values(claim=token, claim_expiry_s=now_s + _CLAIM_S))
            return Claim(token, keys)
    return None


def finish(conn: Connection, claim: Claim) -> None:
    """Removes the notes of files that are deleted, but for those that somebody else has claimed."""
    note = schema.deletion
    conn.execute(delete(note).where(note.c.key.in_(claim.keys), note.c.claim == claim.token))


def end_claims(conn: Connection) -> None:
    """Ends the claims of gateways that are gone, where no other one can be there."""
    conn.execute(update(schema.deletion).values(claim=None, claim_expiry_s=None))


def note_unnamed(conn: Connection, keys: Collection[str]) -> set[str]:
    """Notes those files that no row names, for `claim`; returns which."""
    unnamed = {key for key in keys if not _is_named(conn, key)}
    _note(conn, unnamed)
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


def _forget(conn: Connection, keys: Collection[str]) -> None:
    conn.execute(delete(schema.deletion).where(schema.deletion.c.key.in_(keys)))


def _is_named(conn: Connection, key: str) -> bool:
    if key.startswith(_IMAGES):
        found = select(schema.image.c.sha256).where(
            schema.image.c.sha256 == key.removeprefix(_IMAGES)
        )
    else:
        # Of any job: a shot may share the video of one that was rendered before.
        found = select(schema.shot.c.number).where(schema.shot.c.video_key == key)
    return conn.execute(found.limit(1)).one_or_none() is not None
