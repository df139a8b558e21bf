"""Videos from the farm to memory or disk: resumed after a break, checked, never half there."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import grpc

from svdfarm.connection import Connection
from svdfarm.errors import DiskFull, DownloadBroken, SaveFailed, TargetExists
from svdfarm.resources import OnBytes, Video
from svdfarm.v1 import render_service_pb2 as rpc

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


async def receive(
    connection: Connection,
    video: Video,
    keep: Callable[[bytes], object],
    progress: OnBytes | None = None,
) -> None:
    """Gives `keep` the video's bytes in order, going on after a break from where it stopped.

    Returns only when size and sha256 are the farm's. Raises DownloadBroken.
    """
    patience = connection.patience()
    digest, received = hashlib.sha256(), 0

    def take(data: bytes) -> None:
        digest.update(data)
        keep(data)

    with connection.streams.other():
        while received < video.size_bytes:
            before = received
            request = rpc.DownloadVideoRequest(name=video.name, offset_bytes=received)
            async with connection.stream(connection.render.DownloadVideo, request) as responses:
                try:
                    async for response in responses:
                        patience.renew()
                        received += len(response.data)
                        if received > video.size_bytes:
                            raise DownloadBroken(
                                f"{video.name}: more than its {video.size_bytes} bytes arrived"
                            )
                        await connection.aside(partial(take, response.data))
                        if progress is not None:
                            progress(received, video.size_bytes)
                except grpc.RpcError as error:
                    await patience.bear(error)
                else:
                    if received == before:
                        raise DownloadBroken(
                            f"{video.name}: only {received} of {video.size_bytes} bytes arrived"
                        )
    if digest.hexdigest() != video.sha256:
        raise DownloadBroken(
            f"{video.name}: sha256 {digest.hexdigest()} arrived, the farm has {video.sha256}"
        )


async def receive_image(connection: Connection, sha256: str) -> bytes:
    """The bytes of an image that the farm has. Raises NotFound, DownloadBroken."""
    patience = connection.patience()
    request = rpc.DownloadImageRequest(name=f"images/{sha256}")
    with connection.streams.other():
        while True:  # at most 16 MiB: from the start again after a break
            async with connection.stream(connection.render.DownloadImage, request) as responses:
                try:
                    data = b"".join([response.data async for response in responses])
                except grpc.RpcError as error:
                    await patience.bear(error)
                    continue
            if (found := hashlib.sha256(data).hexdigest()) != sha256:
                raise DownloadBroken(f"images/{sha256}: sha256 {found} arrived")
            return data


async def save(
    connection: Connection,
    video: Video,
    path: Path,
    *,
    overwrite: bool = False,
    progress: OnBytes | None = None,
) -> None:
    """Saves the video at `path`, whole or not at all; the same bytes are left as they are.

    Raises TargetExists, DiskFull, DownloadBroken or SaveFailed.
    """
    if not overwrite and await connection.aside(lambda: _is_there(video, path)):
        return
    part = _Part(path)
    try:
        try:
            await connection.aside(part.open)
            await receive(connection, video, part.write, progress)
            await connection.aside(part.publish)
        finally:
            part.drop()
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull(
                f"{path}: no space left for {video.size_bytes} bytes; free some and download again"
            ) from error
        raise SaveFailed(f"{path}: {(error.strerror or str(error)).lower()}") from error


def _is_there(video: Video, path: Path) -> bool:
    """Whether `path` is this video, byte for byte. Raises TargetExists where it is another file."""
    if not os.path.lexists(path):
        return False
    if path.is_file() and path.stat().st_size == video.size_bytes:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == video.sha256:
                return True
    raise TargetExists(f"{path} is there already with other bytes")


class _Part:
    """A file on its way to its name, beside which it is written: the last step is one rename."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{uuid.uuid4().hex}.part")
        self._file: BinaryIO | None = None

    def open(self) -> None:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("xb")

    def write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)

    def publish(self) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.replace(self._target)

    def drop(self) -> None:
        """Leaves nothing behind but what was published."""
        if self._file is None:
            return
        try:
            self._file.close()
        finally:
            self._path.unlink(missing_ok=True)
