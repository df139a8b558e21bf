"""A finished video on its way in: spooled, checked, published, then committed."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy import Connection

from farm.gateway.mp4 import Mp4Torn, check_mp4
from farm.jobs.retry import Reason
from farm.store import deletion, jobs, leases
from farm.store.errors import NotFound, StoreAway
from farm.store.records import Lease, Video
from farm.store.store import Store
from svdfarm.v1 import resources_pb2 as pb

log = structlog.get_logger()


class UploadRefused(Exception):
    """What the worker sent cannot become a video; `reason` goes into the retry rule."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Upload:
    """The bytes of one attempt's video, as far as they have come."""

    path: Path
    size_bytes: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _file: io.BufferedWriter | None = None
    trouble: UploadRefused | OSError | None = None

    def write(self, offset_bytes: int, data: bytes) -> None:
        """Appends a chunk; offset 0 starts over. What goes wrong is raised by `publish`."""
        try:
            if offset_bytes == 0:
                self.close()
                self._file = self.path.open("wb")
                self._digest = hashlib.sha256()
                self.size_bytes = 0
                self.trouble = None
            if self.trouble is not None:
                return
            if self._file is None or offset_bytes != self.size_bytes:
                gap = f"a chunk at byte {offset_bytes}, but {self.size_bytes} bytes are here"
                self.trouble = UploadRefused(Reason.VIDEO_BROKEN, gap)
                return
            self._file.write(data)
        except OSError as error:
            self.trouble = error
            return
        self._digest.update(data)
        self.size_bytes += len(data)

    def close(self) -> str:
        """Ends writing; returns the SHA-256 of all that came, in hex."""
        if self._file is not None:
            self._file.close()
            self._file = None
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Removes the spooled bytes; where the disk does not let it, they go with the gateway."""
        with contextlib.suppress(OSError):
            self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


async def publish(
    store: Store, lease: Lease, upload: Upload, claimed: pb.Video, render_duration_s: float
) -> bool:
    """Checks the spooled video, publishes it and ends the shot; False: the lease was lost.

    The worker decoded the file before it took its hash (docs/decisions/0015). Raises UploadRefused
    where not all of that file came, or where it is not what was asked for, and OSError or StoreAway
    where the farm's own store cannot take it.
    """
    sha256 = upload.close()
    if upload.trouble is not None:
        raise upload.trouble
    if (sha256, upload.size_bytes) != (claimed.sha256, claimed.size_bytes):
        raise UploadRefused(
            Reason.VIDEO_BROKEN,
            f"{upload.size_bytes} bytes with SHA-256 {sha256} came, the worker sent "
            f"{claimed.size_bytes} with {claimed.sha256}",
        )
    try:
        check_mp4(upload.path)
    except Mp4Torn as error:
        raise UploadRefused(Reason.VIDEO_BROKEN, str(error)) from error
    video = Video(lease.video_key(sha256), sha256, upload.size_bytes, claimed.frame_count)
    now_s = store.clock.wall_s()
    ending = store.publish(
        video.key, upload.path, record, lease, claimed, video, render_duration_s, now_s
    )
    return await or_delete(store, video.key, ending)


async def or_delete(store: Store, key: str, ending: Awaitable[bool]) -> bool:
    """Waits for the end of a shot; where it is refused, its video goes, unless a row names it."""
    try:
        accepted = await ending
    except UploadRefused:
        await _delete(store, key)
        raise
    if not accepted:
        await _delete(store, key)
    return accepted


async def _delete(store: Store, key: str) -> None:
    await store.database.write(deletion.note_unnamed, [key])
    try:
        await store.sweep()
    except (StoreAway, OSError) as error:  # its note stays, and the next sweep finds it
        log.warning("sweep.failed", key=key, error=str(error))


def record(
    conn: Connection,
    lease: Lease,
    claimed: pb.Video,
    video: Video,
    render_duration_s: float,
    now_s: float,
) -> bool:
    """Ends the shot, in the transaction that knows what was asked for. Raises UploadRefused.

    False: the lease was lost, perhaps with the whole job, which ended by another attempt.
    """
    try:
        wanted = jobs.get_shot(conn, lease.shot).params
    except NotFound:
        return False
    if (claimed.frame_count, claimed.width_px, claimed.height_px) != (
        wanted.frame_count,
        wanted.width_px,
        wanted.height_px,
    ):
        raise UploadRefused(
            Reason.VIDEO_BROKEN,
            f"the video has {claimed.frame_count} frames of {claimed.width_px}x{claimed.height_px}"
            f"; {wanted.frame_count} of {wanted.width_px}x{wanted.height_px} were asked for",
        )
    return leases.succeed(conn, lease, video, render_duration_s, now_s)
