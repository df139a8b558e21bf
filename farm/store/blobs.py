"""Images and videos as objects of a store: a folder (folder.py) or a bucket (bucket.py).

Everything is written once, under a name that no other content ever gets, and is durable before
its row is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, S3Store

from farm.jobs.retention import KeptFile

if TYPE_CHECKING:
    from obstore import ReadableFile

CHUNK_BYTES = 256 * 1024
FARM_ID = "farm-id"  # the object that says whose the others are
_RANGE_BYTES = 2**20  # read at a time: what a slow reader makes the gateway hold

Content: TypeAlias = bytes | Path
PutMode: TypeAlias = Literal["create", "overwrite"]


class Blobs(ABC):
    """Immutable objects by key; what can go wrong beyond a missing one is the subclass's to say."""

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store
        self._quick = store  # for what the writers' lock waits for

    async def put(self, key: str, content: Content) -> bool:
        """Publishes `content` (bytes, or a file's) under `key`: whole and durable, or not at all.

        A key that is there can only hold the same, unless a power cut tore it before its row was
        committed: then it is written again. Returns False where the key was there before.
        """
        try:
            await self._write(key, content, "create")
        except AlreadyExistsError:
            try:
                held = await asyncio.to_thread(self._holds, key, content)
            except FileNotFoundError:  # it was collected in between
                held = False
            if not held:
                await self._write(key, content, "overwrite")
            return False
        return True

    async def read(self, key: str, offset_bytes: int = 0) -> AsyncIterator[bytes]:
        """The content from `offset_bytes` on, in chunks of at most CHUNK_BYTES.

        Raises FileNotFoundError.
        """
        with self._errors_told():
            size = (await obstore.head_async(self._store, key))["size"]
        while offset_bytes < size:
            end = min(offset_bytes + _RANGE_BYTES, size)
            with self._errors_told():
                got = await obstore.get_range_async(self._store, key, start=offset_bytes, end=end)
            data = memoryview(got)
            for start in range(0, len(data), CHUNK_BYTES):
                yield bytes(data[start : start + CHUNK_BYTES])
            offset_bytes = end

    async def read_whole(self, key: str) -> bytes:
        """The content. Raises FileNotFoundError."""
        with self._errors_told():
            answer = await obstore.get_async(self._store, key)
            return bytes(await answer.bytes_async())

    @contextlib.contextmanager
    def reader(self, key: str) -> Iterator[ReadableFile]:
        """For some bytes here and there. Raises FileNotFoundError."""
        with self._errors_told():
            yield obstore.open_reader(self._store, key, buffer_size=64)

    def delete(self, *keys: str) -> None:
        """Deletes what is there under `keys`, and a folder with the last file in it."""
        for key in keys:
            with self._errors_told(), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store, key)

    def has(self, key: str) -> bool:
        """Whether something is there under `key`."""
        try:
            with self._errors_told():
                obstore.head(self._quick, key)
        except FileNotFoundError:
            return False
        return True

    def files(self) -> list[KeptFile]:
        """Everything that is there, but for the farm's id."""
        with self._errors_told():
            return [
                KeptFile(meta["path"], meta["size"], meta["last_modified"].timestamp())
                for page in obstore.list(self._store)
                for meta in page
                if meta["path"] != FARM_ID
            ]

    def remove_leftovers(self) -> None:  # noqa: B027 - a bucket has none
        """Removes what gateways that were killed left half written, a day ago or more."""

    def is_used(self) -> bool:
        """Whether an image or a video is there."""
        with self._errors_told():
            return any(
                next(iter(obstore.list(self._store, kind)), None) for kind in ("images", "videos")
            )

    def farm_id(self) -> str | None:
        """Whose this is; None: it does not say."""
        try:
            with self._errors_told():
                return bytes(obstore.get(self._store, FARM_ID).bytes()).decode().strip()
        except FileNotFoundError:
            return None

    def claim(self, farm_id: str) -> str | None:
        """Writes the farm's id, durably, where none is there; returns which is."""
        with contextlib.suppress(AlreadyExistsError), self._errors_told():
            obstore.put(self._store, FARM_ID, farm_id.encode(), mode="create")
        return self.farm_id()

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Lets go of what it holds; nothing may be under way."""

    @abstractmethod
    async def _write(self, key: str, content: Content, mode: PutMode) -> None:
        """Writes one object, durably. Raises AlreadyExistsError in mode `create`."""

    def _errors_told(self) -> contextlib.AbstractContextManager[None]:
        """Raises what obstore says as what the store's callers know."""
        return contextlib.nullcontext()

    def _holds(self, key: str, content: Content) -> bool:
        with self._errors_told():
            there = obstore.get(self._store, key)
            if isinstance(content, bytes):
                return bytes(there.bytes()) == content
            if there.meta["size"] != content.stat().st_size:
                return False
            with content.open("rb") as file:
                return all(bytes(part) == file.read(len(part)) for part in there.stream())
