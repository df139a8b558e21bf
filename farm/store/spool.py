"""A folder for files on their way in: each gateway has one of its own, gone with it."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_LOCK = ".lock"


@dataclass(frozen=True)
class Spool:
    """`folder/ID`, locked while its gateway lives."""

    path: Path
    _lock: int

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Makes this gateway's, and removes those of gateways that are gone."""
        folder.mkdir(exist_ok=True)
        starting = _open_locked(folder / _LOCK, wait=True)
        assert starting is not None
        try:
            for leftover in folder.iterdir():
                if leftover.is_dir():
                    _remove_unless_used(leftover)
                elif leftover.name != _LOCK:  # of a version that spooled into the folder itself
                    leftover.unlink()
            path = folder / uuid.uuid4().hex
            path.mkdir()
            lock = _open_locked(path / _LOCK, wait=False)
            assert lock is not None
            return cls(path, lock)
        finally:
            os.close(starting)

    def close(self) -> None:
        """Removes it, with what never arrived."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_unless_used(path: Path) -> None:
    try:
        lock = _open_locked(path / _LOCK, wait=False)
    except FileNotFoundError:  # its gateway has just removed it
        return
    if lock is not None:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _open_locked(path: Path, *, wait: bool) -> int | None:
    # The system drops the lock with the process, however it ends.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
