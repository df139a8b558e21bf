"""A copy of a data folder while its gateway runs, which is a data folder itself.

Files are only ever added, and are there before their rows: what the database names at its copying
was there by then. What is copied of them before and after it is therefore whole, but for what is
pruned in between, which nobody wants back.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from farm.store.blobs import FARM_ID

DATABASE, FILES, LOCK = "farm.db", "blobs", "lock"


class BackupRefused(Exception):
    """A place that no backup is made from, or to; the message says why."""


@dataclass(frozen=True)
class Backup:
    """What a backup holds."""

    database_bytes: int
    file_count: int  # images and videos
    new_file_count: int  # those that were not in it before


def back_up(data: Path, to: Path) -> Backup:
    """Makes `to` a backup of the data folder `data`, or brings an earlier one up to date.

    What it holds is on disk when this returns; until then an earlier backup stays whole.
    Raises BackupRefused, OSError and sqlite3.Error.
    """
    _check(data, to)
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = _copy_files(data / FILES, to / FILES)
    _copy_database(data / DATABASE, to / DATABASE)
    new += _copy_files(data / FILES, to / FILES)
    _sync(to)
    count = sum(_is_kept(path) and path.name != FARM_ID for path in (to / FILES).rglob("*"))
    return Backup((to / DATABASE).stat().st_size, count, new)


def _check(data: Path, to: Path) -> None:
    if not (data / DATABASE).is_file():
        raise BackupRefused(f"{data} has no {DATABASE}: give --data the folder of a gateway")
    owner = data.stat().st_uid
    if owner != os.geteuid():
        # SQLite may make files beside the database: the gateway could not open them.
        raise BackupRefused(f"{data} belongs to user {_name(owner)}: run this as that user")
    if to.resolve().is_relative_to(data.resolve()) or data.resolve().is_relative_to(to.resolve()):
        raise BackupRefused(f"{to} and {data} lie within each other: give another place")
    if (to / LOCK).exists():
        raise BackupRefused(f"{to} has been a gateway's data folder: give another place")
    begun = {FILES, f"{DATABASE}.part"}  # what a first backup that was broken off leaves
    there = {path.name for path in to.iterdir()} if to.is_dir() else set()
    if DATABASE not in there and not there <= begun:
        raise BackupRefused(f"{to} is no backup and not empty: give another place")
    ours, theirs = (folder / FILES / FARM_ID for folder in (data, to))
    if theirs.exists() and not (ours.exists() and ours.read_bytes() == theirs.read_bytes()):
        raise BackupRefused(f"{to} is a backup of another farm: give another place")


def _copy_database(source: Path, target: Path) -> None:
    """One snapshot, of one read transaction, which holds up no writer."""
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    with (
        contextlib.closing(
            sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
        ) as of,
        contextlib.closing(sqlite3.connect(part)) as copy,
    ):
        of.backup(copy)
        # A file by itself: without the two that WAL has beside it. A gateway turns WAL on again.
        copy.execute("PRAGMA journal_mode = DELETE")
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise BackupRefused(f"{source} is damaged: {found}")
    _sync(part)
    part.rename(target)


def _copy_files(source: Path, target: Path) -> int:
    """Copies what is new; returns how many images and videos that was. Files never change."""
    count = 0
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        if not _is_kept(path) or copy.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        part = copy.with_name(f"{copy.name}#0")  # as the store's own: a gateway clears it away
        with contextlib.suppress(FileNotFoundError):  # pruned since it was listed
            shutil.copyfile(path, part)
            _sync(part)
            part.rename(copy)
            count += path.name != FARM_ID
            for folder in copy.relative_to(target).parents:
                _sync(target / folder)
    return count


def _is_kept(path: Path) -> bool:
    """Whether it is a file, and not one on its way to its name."""
    return "#" not in path.name and path.is_file()


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
