"""The store as the gateway holds it: database, blobs, clock and spool."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection

from farm.store import deletion, deliveries, identity, leases, workers
from farm.store.blobs import Blobs, Content
from farm.store.bucket import Bucket, BucketBlobs
from farm.store.clock import Clock
from farm.store.database import Database
from farm.store.errors import StoreAway, StoreLocked, is_disk_full
from farm.store.folder import FolderBlobs
from farm.store.postgres import Postgres
from farm.store.spool import Spool
from farm.store.sqlite import Sqlite
from farm.store.writer import PATIENCE_S

if TYPE_CHECKING:
    from farm.store.links import Links

P = ParamSpec("P")
R = TypeVar("R")

_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True)
class Store:
    """An open data folder, and the database and bucket that belong to it.

    farm.db   the database, unless it is a PostgreSQL     blobs/   images, videos; or a bucket has
    spool/    videos on their way in, a folder a gateway  lock     held while SQLite's gateway lives
    """

    database: Database
    blobs: Blobs
    clock: Clock
    lease_s: float
    links: Links | None  # for workers that put their videos into the bucket themselves
    _spool: Spool
    _lock: int | None

    @classmethod
    def open(
        cls,
        folder: Path,
        database_url: URL | None = None,
        bucket: Bucket | None = None,
        *,
        direct_upload: bool = False,
        lease_s: float = 30.0,
        clock: Clock | None = None,
    ) -> Store:
        """Opens or makes a data folder, with a database and a place for images and videos.

        Without `database_url` and `bucket` they are a SQLite file and a folder in it.

        Leases of workers that outlived the last gateway get one lease to be claimed again.
        Raises StoreLocked where another gateway has the folder with its SQLite file, StoreTooNew
        for tables of a newer version, StoreAway for a full disk or a database that is not reached,
        ArtifactsUnusable for a bucket that cannot be used, ArtifactsForeign for images and videos
        of another farm than the database's.
        """
        backend = Sqlite(folder / "farm.db") if database_url is None else Postgres(database_url)
        clock = clock or backend.clock()
        with _full_disk_told(folder), contextlib.ExitStack() as undo:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = None
            if database_url is None:
                lock = lock_folder(folder)
                undo.callback(os.close, lock)
            spool = Spool.open(folder / "spool")
            undo.callback(spool.close)
            blobs = FolderBlobs(folder / "blobs") if bucket is None else BucketBlobs.open(bucket)
            undo.callback(blobs.close)
            links = None
            if direct_upload and bucket is not None:
                from farm.store.links import Links  # botocore is large, and few need it

                links = Links.open(bucket)
                undo.callback(links.close)

            starting = True

            def first(conn: Connection) -> None:
                leases.renew_all(conn, clock.steady_s() + lease_s)
                if starting:
                    workers.leave_all(conn, clock.steady_s())
                else:
                    workers.hear_all(conn, clock.steady_s())
                if lock is not None:
                    deletion.end_claims(conn)
                    deliveries.end_claims(conn)

            database = Database.open(backend, first)
            undo.callback(database.close)
            starting = False
            identity.check(database, blobs)
            store = cls(database, blobs, clock, lease_s, links, spool, lock)
            undo.pop_all()
        return store

    @property
    def name(self) -> str:
        """Of this gateway, until it ends."""
        return self.database.name

    @property
    def spool(self) -> Path:
        """The folder of this gateway alone for files on their way in."""
        return self._spool.path

    async def publish(
        self,
        key: str,
        content: Content,
        record: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Stores `content` under `key`, then its row with `record`.

        A file that was there before, or whose deletion is noted, may be collected in between: its
        row is committed in a transaction that finds it and that nobody deletes it, or else the file
        is stored once more. Raises StoreAway where it is being deleted for too long.
        """
        patience_end_s = time.monotonic() + PATIENCE_S
        while True:
            noted = deletion.may_return(key) and await self.database.read(deletion.is_noted, key)
            created = await self.blobs.put(key, content)
            sure = created and not noted
            if sure:  # nothing to look at under the writers' lock
                return await self.database.write(record, *args, **kwargs)

            def run(conn: Connection) -> R:
                if deletion.is_being_deleted(
                    conn, key, self.clock.steady_s()
                ) or not self.blobs.has(key):
                    raise _FileCollected
                return record(conn, *args, **kwargs)

            try:
                return await self.database.write(run)
            except _FileCollected:
                if time.monotonic() > patience_end_s:
                    raise StoreAway(
                        f"{key} is being deleted; it can be stored afterwards"
                    ) from None
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def sweep(self) -> None:
        """Deletes the files whose rows are gone, under no lock: a bucket may take its time.

        What could not be deleted is tried again in a sweep after its claim has run out.
        """
        while claim := await self.database.write(deletion.claim, self.clock.steady_s()):
            await asyncio.to_thread(self.blobs.delete, *claim.keys)
            await self.database.write(deletion.finish, claim)

    def close(self) -> None:
        """Commits what was asked for and lets go of the folder."""
        self.database.close()
        self.blobs.close()
        if self.links is not None:
            self.links.close()
        self._spool.close()
        if self._lock is not None:
            os.close(self._lock)


class _FileCollected(Exception):
    """The file went between its storing and its row."""


@contextlib.contextmanager
def _full_disk_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise StoreAway(
                f"the disk of {folder} is full: free space there, then start the gateway again"
            ) from error
        raise


def lock_folder(folder: Path) -> int:
    """Keeps others out of a data folder with a SQLite file. Raises StoreLocked.

    What it returns is to be closed; the system drops the lock with the process, however it ends.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreLocked(
            f"another gateway is using {folder}: stop it, or give this one a folder of its "
            "own with --data"
        ) from None
    return descriptor
