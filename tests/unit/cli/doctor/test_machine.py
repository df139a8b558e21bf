"""Memory, and disks that cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from farm.cli.doctor import machine
from farm.cli.doctor.check import State
from farm.cli.doctor.machine import Disk, Machine

GIB = 2**30
GB = 10**9


def test_this_machine_has_what_the_system_says() -> None:
    found = machine.probe_machine()

    assert found.core_count == len(os.sched_getaffinity(0))
    assert 0 < found.available_bytes <= found.total_bytes <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("available_bytes", "state"), [(8 * GIB, State.OK), (4 * GIB, State.OK), (3 * GIB, State.WARN)]
)
def test_little_memory_is_told(available_bytes: int, state: State) -> None:
    check = machine.judge_machine(Machine(2, 16 * GIB, available_bytes))

    assert check.state is state
    assert check.found == f"2 cores, 16.0 GiB memory, {available_bytes / GIB:.1f} GiB available"


@pytest.mark.parametrize(
    ("free_bytes", "state"),
    [(2 * GB, State.OK), (GB, State.WARN), (GB // 10, State.WARN), (GB // 11, State.FAIL)],
)
def test_little_disk_is_told(free_bytes: int, state: State) -> None:
    check = machine.judge_disk(Path("/data"), Disk(Path("/data"), free_bytes, 0.004))

    assert check.state is state
    assert check.found.startswith("/data, ")
    assert check.found.endswith("synced in 4 ms")


def test_a_folder_that_is_not_there_is_tried_above_and_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"

    disk = machine.probe_disk(folder)

    assert disk.tried == tmp_path
    assert disk.problem == ""
    assert disk.free_bytes > 0
    assert disk.sync_s > 0
    assert list(tmp_path.iterdir()) == []
    assert "not made yet" in machine.judge_disk(folder, disk).found


def test_a_folder_that_cannot_be_written_fails() -> None:
    disk = machine.probe_disk(Path("/proc/svdfarm"))  # not even root can
    check = machine.judge_disk(Path("/proc/svdfarm"), disk)

    assert disk.problem
    assert check.state is State.FAIL
    assert "/proc cannot be written" in check.found


def test_a_file_where_the_folder_belongs_fails(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    disk = machine.probe_disk(tmp_path / "data")

    assert disk.problem == "not a directory"


FULL = """
import sys
from pathlib import Path
from farm.cli.doctor import machine
folder = Path(sys.argv[1])
try:
    (folder / "all").write_bytes(bytes(2**20))
except OSError:
    pass
print(machine.probe_disk(folder).problem)
print([path.name for path in folder.iterdir()])
"""


def test_a_full_disk_is_named_and_left_as_it_was(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=64k none "$1" && exec "$2" -W error -c "$3" "$1"'
    own = [shutil.which("unshare") or "unshare", "--mount", "--map-root-user", "--user"]
    if subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("a disk of one's own takes unprivileged user namespaces")

    done = subprocess.run(
        [*own, "sh", "-c", mount, "sh", tmp_path, sys.executable, FULL],
        capture_output=True,
        text=True,
    )

    assert done.stdout.splitlines() == ["no space left on device", "['all']"], done.stderr
    assert done.stderr == ""
