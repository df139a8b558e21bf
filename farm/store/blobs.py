"""Images and videos as files of an object store; today a folder.

Everything is written once, under a name that no other content ever gets, and is on disk before
its row is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import filecmp
import os
from collections.abc import AsyncIterator
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from farm.jobs.retention import KeptFile

CHUNK_BYTES = 256 * 1024


class Blobs:
    """A folder of immutable files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._store = LocalStore(prefix=folder, automatic_cleanup=True)

    async def put(self, key: str, content: bytes | Path) -> None:
        """Publishes `content` (bytes, or a file's) under `key`: whole and on disk, or not at all.

        A key that is there can only hold the same, unless a power cut tore it before its row was
        committed: then it is written again.
        """
        try:
            await obstore.put_async(self._store, key, content, mode="create")
        except AlreadyExistsError:
            if not await asyncio.to_thread(self._holds, key, content):
                await obstore.put_async(self._store, key, content, mode="overwrite")
        await asyncio.to_thread(self._sync, key)

    async def read(self, key: str, offset_bytes: int = 0) -> AsyncIterator[bytes]:
        """The content from `offset_bytes` on, in chunks of at most CHUNK_BYTES.

        Raises FileNotFoundError.
        """
        meta = await obstore.head_async(self._store, key)
        size = meta["size"]
        while offset_bytes < size:
            end = min(offset_bytes + CHUNK_BYTES, size)
            data = await obstore.get_range_async(self._store, key, start=offset_bytes, end=end)
            yield bytes(data)
            offset_bytes = end

    async def read_whole(self, key: str) -> bytes:
        """The content. Raises FileNotFoundError."""
        answer = await obstore.get_async(self._store, key)
        return bytes(await answer.bytes_async())

    def delete(self, key: str) -> None:
        """Deletes what is there under `key`, and its folder with the last file in it."""
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def has(self, key: str) -> bool:
        """Whether something is there under `key`."""
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def files(self) -> list[KeptFile]:
        """Everything that is there."""
        return [
            KeptFile(meta["path"], meta["size"], meta["last_modified"].timestamp())
            for page in obstore.list(self._store)
            for meta in page
        ]

    def _holds(self, key: str, content: bytes | Path) -> bool:
        there = self._folder / key
        if isinstance(content, Path):
            return filecmp.cmp(there, content, shallow=False)
        return there.read_bytes() == content

    def _sync(self, key: str) -> None:
        # obstore renames a finished file into place but leaves it to the system when it reaches
        # the disk; the folders above it may be as new as the file.
        path = self._folder / key
        _fsync(path)
        for folder in path.parents:
            _fsync(folder)
            if folder == self._folder:
                break


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
