"""A folder of blobs, on disk before their rows are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore

from farm.jobs.retention import GRACE_S
from farm.store.blobs import FARM_ID, Blobs, Content, PutMode

_STAGED = re.compile(r"#\d+$")  # how obstore names a file until it is whole
_SYNCERS = 8  # a file system commits in one go what is synced at the same time


class FolderBlobs(Blobs):
    """A folder of immutable files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(LocalStore(prefix=folder, automatic_cleanup=True))
        self._folder = folder
        self._syncers = ThreadPoolExecutor(_SYNCERS, thread_name_prefix="blobs-sync")
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []  # keys
        self._syncing: asyncio.Task[None] | None = None

    async def put(self, key: str, content: Content) -> bool:
        """See `Blobs`."""
        created = await super().put(key, content)
        if not created:  # perhaps by one that has not synced it yet
            await self._sync(key)
        return created

    def claim(self, farm_id: str) -> str | None:
        """See `Blobs`."""
        found = super().claim(farm_id)
        for path in (self._folder / FARM_ID, self._folder):
            if error := _fsync(path):
                raise error
        return found

    def remove_leftovers(self) -> None:
        """See `Blobs`; obstore does not list them."""
        then_s = time.time() - GRACE_S
        for path in self._folder.rglob("*#*"):
            with contextlib.suppress(FileNotFoundError):  # another gateway finishes its own
                if _STAGED.search(path.name) and path.is_file() and path.stat().st_mtime < then_s:
                    path.unlink()

    def __str__(self) -> str:
        return str(self._folder)

    def close(self) -> None:
        """See `Blobs`."""
        self._syncers.shutdown()

    async def _write(self, key: str, content: Content, mode: PutMode) -> None:
        with self._errors_told():
            await obstore.put_async(self._store, key, content, mode=mode)
        await self._sync(key)

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except AlreadyExistsError:
            raise
        except BaseError as error:
            raise OSError(str(error)) from error

    async def _sync(self, key: str) -> None:
        """Waits until a file is on disk, with those that wait with it: they share their folders.

        obstore renames a finished file into place but leaves it to the system when it reaches the
        disk; the folders above it may be as new as the file.
        """
        synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, synced))
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.create_task(self._sync_groups())
        await synced

    async def _sync_groups(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            errors = await asyncio.to_thread(self._sync_all, [key for key, _ in group])
            for (_, synced), error in zip(group, errors, strict=True):
                if synced.cancelled():
                    continue
                if error is None:
                    synced.set_result(None)
                else:
                    synced.set_exception(error)

    def _sync_all(self, keys: list[str]) -> list[OSError | None]:
        """What went wrong with each: one that was deleted meanwhile fails alone."""
        files = [self._folder / key for key in keys]
        # A thread costs more than it saves one file alone.
        sync = map if len(files) == 1 else self._syncers.map
        errors = list(sync(_fsync, files))
        above = [self._folders_of(key) for key in keys]
        for folder in set().union(*above):  # after what they name; most have nothing new
            if error := _fsync(folder):
                errors = [
                    known or (error if folder in folders else None)
                    for folders, known in zip(above, errors, strict=True)
                ]
        return errors

    def _folders_of(self, key: str) -> set[Path]:
        parts = key.split("/")
        return {self._folder.joinpath(*parts[:depth]) for depth in range(len(parts))}


def _fsync(path: Path) -> OSError | None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error
    return None
