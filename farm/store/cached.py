"""Videos that are there already for shots that are asked for again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, select, update

from farm.jobs.access import DEFAULT_TENANT
from farm.jobs.states import ShotState
from farm.store import schema
from farm.store.records import ShotKey
from farm.store.scope import owned

_PART = 500  # below every database's limit of parameters


def find(
    conn: Connection, keys: Collection[str], tenant: str = DEFAULT_TENANT, *, shared: bool = False
) -> dict[str, dict[str, Any]]:
    """By its key: what a shot's row has of the newest video that was rendered for it.

    The shots share the file: it stays for as long as a row names it. Videos are `tenant`'s own,
    unless `shared`: then they may be anybody's, and whose is not told.
    """
    shot = schema.shot
    ordered = sorted(keys)
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ordered), _PART):
        part = ordered[start : start + _PART]
        query = (
            select(
                shot.c.job_id,
                shot.c.number,
                shot.c.tenant,
                shot.c.cache_key,
                shot.c.video_key,
                shot.c.video_sha256,
                shot.c.video_size_bytes,
                shot.c.video_frame_count,
            )
            .where(shot.c.cache_key.in_(part), shot.c.state == ShotState.SUCCEEDED)
            .order_by(shot.c.job_number, shot.c.number)
        )
        for row in conn.execute(owned(query, shot, None if shared else tenant)):
            name = str(ShotKey(row.job_id, row.number)) if row.tenant == tenant else None
            found[row.cache_key] = {
                "cached_from": name,
                "video_key": row.video_key,
                "video_sha256": row.video_sha256,
                "video_size_bytes": row.video_size_bytes,
                "video_frame_count": row.video_frame_count,
            }
    return found


def forget(conn: Connection, video_key: str) -> None:
    """Serves a video to nobody else: its file is not there."""
    shot = schema.shot
    conn.execute(update(shot).where(shot.c.video_key == video_key).values(cache_key=None))
