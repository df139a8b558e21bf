"""What the machine has: cores, memory, and a disk that keeps what it is given."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from farm.cli.doctor.check import Check, fail, ok, warn

_GIB = 2**30
_GB = 10**9
# Ray, a gateway and two CPU workers take about 3 GiB.
_ENOUGH_MEMORY_BYTES = 4 * _GIB
_LEAST_DISK_BYTES = _GB // 10
_ENOUGH_DISK_BYTES = 2 * _GB
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Machine:
    """What this process may use."""

    core_count: int
    total_bytes: int
    available_bytes: int


def probe_machine() -> Machine:
    """Cores and memory, those of the container where there is one."""
    import psutil  # type: ignore[import-untyped]

    memory = psutil.virtual_memory()
    limit = min(filter(None, map(_limit, _CGROUP_LIMITS)), default=memory.total)
    total = min(memory.total, limit)
    return Machine(len(os.sched_getaffinity(0)), total, min(memory.available, total))


def _limit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or `max`
        return None


def judge_machine(machine: Machine) -> Check:
    """Is there memory for a farm?"""
    cores = "1 core" if machine.core_count == 1 else f"{machine.core_count} cores"
    total, free = machine.total_bytes / _GIB, machine.available_bytes / _GIB
    found = f"{cores}, {total:.1f} GiB memory, {free:.1f} GiB available"
    if machine.available_bytes < _ENOUGH_MEMORY_BYTES:
        advice = "Ray and two workers take about 3 GiB: end other programs, or take --workers 1."
        return warn("cpu", found, advice)
    return ok("cpu", found)


@dataclass(frozen=True)
class Disk:
    """A data folder's disk."""

    tried: Path  # the folder, or the nearest one above it that is there
    free_bytes: int
    sync_s: float
    problem: str = ""  # why nothing can be written there


def probe_disk(folder: Path) -> Disk:
    """Writes and syncs a file that has no name: nothing is left behind, nor is a folder made."""
    tried = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    free_bytes = 0
    started = time.perf_counter()
    try:
        free_bytes = shutil.disk_usage(tried).free
        with tempfile.TemporaryFile(dir=tried) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Disk(tried, free_bytes, 0, (error.strerror or str(error)).lower())
    return Disk(tried, free_bytes, time.perf_counter() - started)


def judge_disk(folder: Path, disk: Disk) -> Check:
    """Can jobs and videos be kept there?"""
    there = f"{folder}" if disk.tried == folder else f"{folder} (not made yet)"
    if disk.problem:
        advice = "Give a folder that can be written, with --data or FARM_DATA, or make room."
        return fail("data", f"{there}: {disk.tried} cannot be written: {disk.problem}", advice)
    found = f"{there}, {disk.free_bytes / _GB:.1f} GB free, synced in {disk.sync_s * 1000:.0f} ms"
    if disk.free_bytes < _LEAST_DISK_BYTES:
        return fail("data", found, "Make room, or give a folder on another disk with --data.")
    if disk.free_bytes < _ENOUGH_DISK_BYTES:
        return warn("data", found, "Make room, or give a folder on another disk with --data.")
    return ok("data", found)
