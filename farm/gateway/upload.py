"""A finished video on its way in: spooled, checked, published, then committed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import structlog
from sqlalchemy import Connection

from farm.container.reading import Torn
from farm.container.whole import check_whole
from farm.jobs.cache import cache_key
from farm.jobs.codec import Container, container_of
from farm.jobs.params import RenderParams
from farm.jobs.retry import Reason
from farm.store import deletion, leases
from farm.store.blobs import Content
from farm.store.errors import StoreAway
from farm.store.moves import rows_of
from farm.store.records import Lease, Video
from farm.store.rows import shot_from_row
from farm.store.store import Store
from farm.store.together import made_by
from svdfarm.v1 import resources_pb2 as pb

log = structlog.get_logger()

MEMORY_BYTES = 2 * 2**20  # of a video that need not touch the spool: most of SVD-XT's do not
LIMIT_BYTES = 2 * 2**30  # the most frames of the largest size as plain RGB have 1.6e9 bytes


class UploadRefused(Exception):
    """What the worker sent cannot become a video; `reason` goes into the retry rule."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Upload:
    """The bytes of one attempt's video, as far as they have come: on disk where they are many."""

    folder: Path
    size_bytes: int = 0
    started_s: float = field(default_factory=time.monotonic)
    trouble: UploadRefused | OSError | None = None
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _memory: bytearray = field(default_factory=bytearray)
    _file: io.BufferedWriter | None = None

    def write(self, offset_bytes: int, data: bytes) -> None:
        """Appends a chunk; offset 0 starts over. What goes wrong is raised by `publish`."""
        try:
            if offset_bytes == 0:
                self._start_over()
            if self.trouble is not None:
                return
            if offset_bytes != self.size_bytes:
                gap = f"a chunk at byte {offset_bytes}, but {self.size_bytes} bytes are here"
                self.trouble = UploadRefused(Reason.VIDEO_BROKEN, gap)
                return
            if self.size_bytes + len(data) > LIMIT_BYTES:
                self.discard()
                too_long = f"the video has more than the {LIMIT_BYTES} bytes that a video may have"
                self.trouble = UploadRefused(Reason.VIDEO_BROKEN, too_long)
                return
            if self._file is None and self.size_bytes + len(data) > MEMORY_BYTES:
                self._file = (self.folder / f"{uuid.uuid4().hex}.part").open("wb")
                self._file.write(self._memory)
                self._memory.clear()
            if self._file is None:
                self._memory += data
            else:
                self._file.write(data)
        except OSError as error:
            self.trouble = error
            return
        self._digest.update(data)
        self.size_bytes += len(data)

    def _start_over(self) -> None:
        self.discard()
        self._file = None
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        self.trouble = None

    def close(self) -> str:
        """Ends writing; returns the SHA-256 of all that came, in hex."""
        if self._file is not None:
            self._file.close()
        return self._digest.hexdigest()

    @property
    def content(self) -> Content:
        """All that came, once it is closed."""
        return bytes(self._memory) if self._file is None else Path(self._file.name)

    def discard(self) -> None:
        """Removes what came; where the disk does not let it, it goes with the gateway."""
        self._memory.clear()
        with contextlib.suppress(OSError):
            self.close()
        if self._file is not None:
            with contextlib.suppress(OSError):
                Path(self._file.name).unlink()


async def publish(
    store: Store,
    lease: Lease,
    upload: Upload,
    claimed: pb.Video,
    render_duration_s: float,
    identities: Mapping[str, str],
    lines: str | None,
) -> bool:
    """Checks the video that came, publishes it and ends the shot; False: the lease was lost.

    The worker decoded the file before it took its hash (docs/decisions/0015); `lines` is what it
    logged. Raises UploadRefused where not all of that file came, or where it is not what was asked
    for, and OSError or StoreAway where the farm's own store cannot take it.
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
    container = claimed_container(claimed)
    try:
        content = upload.content
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
            check_whole(file, upload.size_bytes, container)
    except Torn as error:
        raise UploadRefused(Reason.VIDEO_BROKEN, str(error)) from error
    key = lease.video_key(sha256, container)
    video = Video(key, sha256, upload.size_bytes, claimed.frame_count)
    now_s = store.clock.wall_s()
    ending = store.publish(
        video.key,
        content,
        record,
        lease,
        claimed,
        video,
        render_duration_s,
        identities,
        lines,
        now_s,
    )
    return await or_delete(store, video.key, ending)


def claimed_container(claimed: pb.Video) -> Container:
    """The kind of file that the worker says it made. Raises UploadRefused."""
    try:
        return container_of(claimed.media_type)
    except ValueError as error:
        raise UploadRefused(Reason.VIDEO_BROKEN, f"the video's media type {error}") from error


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


Recorded: TypeAlias = tuple[
    Lease, pb.Video, Video, float, Mapping[str, str], str | None, float
]  # what `record` takes


def record_all(conn: Connection, endings: Sequence[Recorded]) -> list[bool | UploadRefused]:
    """Ends shots, in the transaction that knows what was asked for; what `record` tells of each."""
    shots = rows_of(conn, {lease.shot for lease, *_ in endings})
    told: list[bool | UploadRefused] = []
    good: dict[int, leases.Ending] = {}
    for number, (lease, claimed, video, took_s, identities, lines, now_s) in enumerate(endings):
        told.append(False)
        if lease.shot not in shots:
            continue
        shot = shot_from_row(shots[lease.shot])
        try:
            _check_wanted(claimed, shot.params)
        except UploadRefused as error:
            told[number] = error
            continue
        key = cache_key(shot.image_sha256, shot.params, identities.get(shot.params.model or "", ""))
        good[number] = leases.Ending(lease, video, took_s, now_s, key, lines)
    accepted = leases.succeed_all(conn, list(good.values())) if good else []
    for number, each in zip(good, accepted, strict=True):
        told[number] = each
    return told


@made_by(record_all)
def record(
    conn: Connection,
    lease: Lease,
    claimed: pb.Video,
    video: Video,
    render_duration_s: float,
    identities: Mapping[str, str],
    lines: str | None,
    now_s: float,
) -> bool:
    """Ends the shot, in the transaction that knows what was asked for. Raises UploadRefused.

    False: the lease was lost, perhaps with the whole job, which ended by another attempt.
    """
    ending = (lease, claimed, video, render_duration_s, identities, lines, now_s)
    (told,) = record_all(conn, [ending])
    if isinstance(told, UploadRefused):
        raise told
    return told


def _check_wanted(claimed: pb.Video, wanted: RenderParams) -> None:
    """Raises UploadRefused for another video than was asked for."""
    if claimed.media_type != wanted.container.media_type:
        raise UploadRefused(
            Reason.VIDEO_BROKEN,
            f"the video is {claimed.media_type}; {wanted.codec} in {wanted.container.media_type} "
            "was asked for",
        )
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
