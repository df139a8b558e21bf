"""A disk as a journal of calls leaves it: what was synced is there, what was not may be or not.

POSIX promises no more: a write is safe once its file was synced, a name once its folder was.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path, PurePosixPath

_HEAD = struct.Struct("<QQqII")
_SECTOR_BYTES = 512  # is written whole or not at all


class What(IntEnum):
    """What a call did; as in journal.c."""

    OPENED = 1
    WROTE = 2
    CUT = 3
    SYNCED = 4
    RENAMED = 5
    LINKED = 6
    UNLINKED = 7
    MADE_FOLDER = 8


@dataclass(frozen=True)
class Record:
    """One call that changed something."""

    time_ns: int  # of CLOCK_MONOTONIC, after it
    inode: int
    offset: int
    what: What
    data: bytes

    @property
    def paths(self) -> list[str]:
        """The paths that it named."""
        return [path.decode() for path in self.data.split(b"\0")[:-1]]


def read(path: Path) -> Iterator[Record]:
    """Every record of a journal, in order; one that a killed process left half is passed over."""
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            time_ns, inode, offset, what, size = _HEAD.unpack(head)
            data = file.read(size)
            if len(data) == size:
                yield Record(time_ns, inode, offset, What(what), data)


@dataclass
class File:
    """What is safe of a file, and what was done to it since: writes, and cuts (data None)."""

    folder: bool = False
    safe: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Naming:
    """A name that was given, moved or taken; of no effect before `folder` is synced."""

    folder: str
    gone: str | None  # this name is none any more
    path: str | None  # this one is
    file: File | None


class Disk:
    """Files and names under `root` while a journal is played."""

    def __init__(self, root: str) -> None:
        self._root = root
        top = File(folder=True)
        self._live: dict[str, File] = {root: top}
        self._safe: dict[str, File] = {root: top}
        self._namings: list[Naming] = []  # those that are not safe
        self._inodes: dict[int, File] = {}

    def play(self, record: Record) -> None:
        """Does what one call did."""
        match record.what:
            case What.OPENED:
                (path,) = record.paths
                self._opened(path, record.inode)
            case What.WROTE:
                self._inodes[record.inode].since.append((record.offset, record.data))
            case What.CUT:
                self._inodes[record.inode].since.append((record.offset, None))
            case What.SYNCED:
                self._sync(self._inodes[record.inode])
            case What.RENAMED:
                old, new = record.paths
                self._rename(old, new)
            case What.LINKED:
                old, new = record.paths
                self._name(Naming(_parent(new), None, new, self._live[old]))
            case What.UNLINKED:
                (path,) = record.paths
                self._name(Naming(_parent(path), path, None, None))
            case What.MADE_FOLDER:
                (path,) = record.paths
                made = self._inodes[record.inode] = File(folder=True)
                self._name(Naming(_parent(path), None, path, made))

    def _opened(self, path: str, inode: int) -> None:
        if path in self._live:
            self._inodes[inode] = self._live[path]
        else:  # made by this call; a number may have been another file's
            made = self._inodes[inode] = File()
            self._name(Naming(_parent(path), None, path, made))

    def _rename(self, old: str, new: str) -> None:
        moved = [path for path in self._live if path == old or path.startswith(f"{old}/")]
        for path in moved:
            target = new + path.removeprefix(old)
            self._name(Naming(_parent(new), path, target, self._live[path]))

    def _name(self, naming: Naming) -> None:
        _apply(self._live, naming)
        self._namings.append(naming)

    def _sync(self, file: File) -> None:
        if file.folder:
            path = next(path for path, found in self._live.items() if found is file)
            for naming in [each for each in self._namings if each.folder == path]:
                _apply(self._safe, naming)
                self._namings.remove(naming)
        else:
            for offset, data in file.since:
                _write(file.safe, offset, data)
            file.since.clear()

    def leave(self, folder: Path, rng: random.Random | None) -> None:
        """Writes what a power cut now leaves: with `rng` some of what was not synced, else none.

        Names reach a disk in their order, as journals of file systems have it; data in none.
        """
        names = dict(self._safe)
        for naming in self._namings[: rng.randint(0, len(self._namings)) if rng else 0]:
            _apply(names, naming)
        for path, file in sorted(names.items()):
            target = folder / PurePosixPath(path).relative_to(self._root)
            if file.folder:
                target.mkdir(parents=True, exist_ok=True)
            elif _parent(path) in names:
                target.write_bytes(_survives(file, rng))


def _survives(file: File, rng: random.Random | None) -> bytes:
    content = bytearray(file.safe)
    if rng is not None and file.since:
        kept = rng.choice([0.0, 0.5, 1.0])
        for offset, data in file.since:
            if rng.random() >= kept:
                continue
            if data is not None and len(data) > _SECTOR_BYTES and rng.random() < 0.2:
                data = data[: rng.randrange(0, len(data), _SECTOR_BYTES)]
            _write(content, offset, data)
    return bytes(content)


def _write(content: bytearray, offset: int, data: bytes | None) -> None:
    end = offset + len(data or b"")
    if data is None:
        del content[offset:]
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[offset:end] = data or b""


def _apply(names: dict[str, File], naming: Naming) -> None:
    if naming.gone is not None:
        names.pop(naming.gone, None)
    if naming.path is not None and naming.file is not None:
        names[naming.path] = naming.file


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)
