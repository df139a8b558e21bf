"""A finished video that its worker put into the bucket itself: linked, checked, then committed."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection

from farm.container.reading import Torn
from farm.container.whole import check_whole
from farm.gateway.upload import LIMIT_BYTES, UploadRefused, claimed_container, or_delete, record
from farm.jobs.codec import Container
from farm.jobs.retention import GRACE_S
from farm.jobs.retry import Reason
from farm.store.records import Lease, Video
from farm.store.store import Store
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import session_service_pb2 as session_pb

if TYPE_CHECKING:
    from farm.store.links import Links

log = structlog.get_logger()

_SHA256 = re.compile(r"[0-9a-f]{64}")


async def upload_link(store: Store, lease: Lease, video: pb.Video) -> session_pb.UploadLink:
    """Where to put this attempt's video; empty where it is to come over the session."""
    fits = _SHA256.fullmatch(video.sha256) and 0 < video.size_bytes <= LIMIT_BYTES
    if store.links is None or not fits:
        return session_pb.UploadLink()
    try:
        container = claimed_container(video)
    except UploadRefused:  # which it is told when it is done
        return session_pb.UploadLink()
    key = lease.video_key(video.sha256, container)
    try:
        # Role keys may have to be fetched anew first.
        link = await asyncio.to_thread(
            store.links.sign, key, video.sha256, video.size_bytes, container.media_type
        )
    except Exception as error:  # the wall: a worker that got no answer would wait
        log.error("link.not_signed", **lease.ids, exc_info=error)
        return session_pb.UploadLink()
    return session_pb.UploadLink(url=link.url, headers=link.headers)


async def publish_uploaded(
    store: Store,
    lease: Lease,
    claimed: pb.Video,
    render_duration_s: float,
    identities: Mapping[str, str],
    lines: str | None,
) -> bool:
    """Checks what the worker put into the bucket and ends the shot; False: the lease was lost.

    As `publish`, but that the bucket took the hash. Raises UploadRefused.
    """
    if store.links is None or not _SHA256.fullmatch(claimed.sha256):
        raise UploadRefused(Reason.VIDEO_BROKEN, "there was no link to upload the video with")
    container = claimed_container(claimed)
    key = lease.video_key(claimed.sha256, container)
    video = Video(key, claimed.sha256, claimed.size_bytes, claimed.frame_count)
    ending = _publish(
        store, store.links, lease, claimed, video, container, render_duration_s, identities, lines
    )
    return await or_delete(store, video.key, ending)


async def _publish(
    store: Store,
    links: Links,
    lease: Lease,
    claimed: pb.Video,
    video: Video,
    container: Container,
    render_duration_s: float,
    identities: Mapping[str, str],
    lines: str | None,
) -> bool:
    try:
        found = await asyncio.to_thread(links.find, video.key)
        # It has none where the video came over an earlier session, too late for its row.
        sha256 = found.sha256 or await _hash(store, video.key)
        if (sha256, found.size_bytes) != (video.sha256, video.size_bytes):
            raise UploadRefused(
                Reason.VIDEO_BROKEN,
                f"{found.size_bytes} bytes with SHA-256 {sha256} are in the bucket, the worker "
                f"uploaded {video.size_bytes} with {video.sha256}",
            )
        await asyncio.to_thread(_check_whole, store, video, container)
    except FileNotFoundError as error:
        raise UploadRefused(
            Reason.VIDEO_BROKEN, "the video that the worker uploaded is not in the bucket"
        ) from error
    now_s = store.clock.wall_s()
    # Not to be collected for long: no other look is needed under the writers' lock.
    ending = (lease, claimed, video, render_duration_s, identities, lines, now_s)
    if now_s - found.modify_time_s < GRACE_S / 2:
        return await store.database.write(record, *ending)

    def run(conn: Connection) -> bool:
        if not store.blobs.has(video.key):
            raise UploadRefused(Reason.VIDEO_BROKEN, "the uploaded video was collected meanwhile")
        return record(conn, *ending)

    return await store.database.write(run)


async def _hash(store: Store, key: str) -> str:
    digest = hashlib.sha256()
    async for part in store.blobs.read(key):
        digest.update(part)
    return digest.hexdigest()


def _check_whole(store: Store, video: Video, container: Container) -> None:
    try:
        with store.blobs.reader(video.key) as file:
            check_whole(file, video.size_bytes, container)
    except Torn as error:
        raise UploadRefused(Reason.VIDEO_BROKEN, str(error)) from error
