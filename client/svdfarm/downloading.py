"""Videos from the farm to memory or disk: resumed after a break, checked, never half there."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import grpc

from svdfarm.connection import Connection
from svdfarm.errors import DiskFull, DownloadBroken, SaveFailed, TargetExists
from svdfarm.resources import Video
from svdfarm.v1 import render_service_pb2 as rpc

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_BYTES = 2**20


def receive(connection: Connection, video: Video) -> Generator[bytes, None, None]:
    """The video's bytes in order, going on after a break from where it stopped.

    Ends only when size and sha256 are the farm's. Raises DownloadBroken.
    """
    patience = connection.patience()
    digest, received = hashlib.sha256(), 0
    while received < video.size_bytes:
        before = received
        request = rpc.DownloadVideoRequest(name=video.name, offset_bytes=received)
        with connection.stream(connection.render.DownloadVideo, request) as responses:
            try:
                for response in responses:
                    patience.renew()
                    received += len(response.data)
                    if received > video.size_bytes:
                        raise DownloadBroken(
                            f"{video.name}: more than its {video.size_bytes} bytes arrived"
                        )
                    digest.update(response.data)
                    yield response.data
            except grpc.RpcError as error:
                patience.bear(error)
            else:
                if received == before:
                    raise DownloadBroken(
                        f"{video.name}: only {received} of {video.size_bytes} bytes arrived"
                    )
    if digest.hexdigest() != video.sha256:
        raise DownloadBroken(
            f"{video.name}: sha256 {digest.hexdigest()} arrived, the farm has {video.sha256}"
        )


def save(
    connection: Connection,
    video: Video,
    path: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> bool:
    """Saves the video at `path`, whole or not at all; False where the same bytes were there.

    `progress` is called with the bytes received so far. Raises TargetExists, DiskFull,
    DownloadBroken or SaveFailed.
    """
    if not overwrite and os.path.lexists(path):
        if is_same(video, path):
            return False
        raise TargetExists(f"{path} is there already with other bytes")
    # Beside the target, so that the last step is one rename.
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Closed here: a traceback that somebody keeps would keep the stream open too.
            with closing(receive(connection, video)) as chunks:
                _write(part, chunks, progress)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull(
                f"{path}: no space left for {video.size_bytes} bytes; free some and download again"
            ) from error
        raise SaveFailed(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return True


def is_same(video: Video, path: Path) -> bool:
    """Whether the file at `path` holds this video, byte for byte."""
    if not path.is_file() or path.stat().st_size != video.size_bytes:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == video.sha256


def _write(path: Path, chunks: Iterator[bytes], progress: Callable[[int], None] | None) -> None:
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
            if progress is not None:
                progress(file.tell())
        file.flush()
        os.fsync(file.fileno())
