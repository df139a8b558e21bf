"""A folder of blobs, on disk before their rows are."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from farm.store.blobs import Blobs, Content, PutMode


class FolderBlobs(Blobs):
    """A folder of immutable files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(LocalStore(prefix=folder, automatic_cleanup=True))
        self._folder = folder

    async def put(self, key: str, content: Content) -> bool:
        """See `Blobs`."""
        created = await super().put(key, content)
        if not created:  # perhaps by one that has not synced it yet
            await asyncio.to_thread(self._sync, key)
        return created

    async def _write(self, key: str, content: Content, mode: PutMode) -> None:
        await obstore.put_async(self._store, key, content, mode=mode)
        await asyncio.to_thread(self._sync, key)

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except BaseError as error:
            raise OSError(str(error)) from error

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
