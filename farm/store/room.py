"""Whether the disk of the data folder has room for more work.

A part of it is kept back for what was already accepted: the videos that render now, and the
database's own writes. New work stops before that part is touched: nothing meets a full disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Room:
    """The disk under `folder`, of which `reserve_bytes` are kept back; 0 keeps nothing back."""

    folder: Path
    reserve_bytes: int

    @property
    def free_bytes(self) -> int:
        """What others than root may use of the disk yet."""
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    def problem(self) -> str:
        """What is wrong and what to do, or "" where there is room."""
        free_bytes = self.free_bytes
        if free_bytes >= self.reserve_bytes:
            return ""
        return (
            f"the disk of {self.folder} has {told(free_bytes)} left, less than the "
            f"{told(self.reserve_bytes)} that are kept back: free space there or delete old jobs"
        )


def told(size_bytes: int) -> str:
    """A size for people, such as 1.5 GiB."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.3g} {_UNITS[unit]}"
