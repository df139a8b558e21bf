"""The store as the gateway holds it: database, blobs and clock of one data folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from farm.store import leases
from farm.store.blobs import Blobs
from farm.store.clock import Clock
from farm.store.database import Database
from farm.store.errors import StoreLocked


@dataclass(frozen=True)
class Store:
    """An open data folder.

    farm.db   the database     blobs/   images and videos
    spool/    videos on their way in     lock   held while a gateway lives
    """

    database: Database
    blobs: Blobs
    clock: Clock
    spool: Path
    lease_s: float
    _lock: int

    @classmethod
    def open(cls, folder: Path, *, lease_s: float = 30.0, clock: Clock | None = None) -> Store:
        """Opens or makes a data folder.

        Leases of workers that outlived the last gateway get one lease to be claimed again.
        Raises StoreLocked where another gateway has the folder, StoreTooNew for tables of a
        newer version.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder / "lock")
        clock = clock or Clock()
        spool = folder / "spool"
        spool.mkdir(exist_ok=True)
        for leftover in spool.iterdir():  # of attempts whose upload the last gateway did not end
            leftover.unlink()
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, lock)
            database = Database.open(folder / "farm.db")
            undo.callback(database.close)
            database.submit(leases.renew_all, clock.steady_s() + lease_s).result()
            store = cls(database, Blobs(folder / "blobs"), clock, spool, lease_s, lock)
            undo.pop_all()
        return store

    def close(self) -> None:
        """Commits what was asked for and lets go of the folder."""
        self.database.close()
        os.close(self._lock)


def _lock(path: Path) -> int:
    # The system drops the lock with the process, however it ends.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreLocked(
            f"another gateway is using {path.parent}: stop it, or give this one a folder of its "
            "own with --data"
        ) from None
    return descriptor
