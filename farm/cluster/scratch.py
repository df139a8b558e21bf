"""A folder of this process for videos that are not settled yet."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "svdfarm-worker-"  # the process's id follows


def make_folder(parent: Path) -> Path:
    """A new folder in `parent`; those of workers that were killed go."""
    for path in parent.glob(f"{_PREFIX}*"):
        if not _lives(path):
            shutil.rmtree(path, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))


def folders(parent: Path) -> list[Path]:
    """The folders in `parent` of workers of this user that live."""
    found = parent.glob(f"{_PREFIX}*")
    return [path for path in found if _lives(path) and path.stat().st_uid == os.getuid()]


def _lives(path: Path) -> bool:
    pid = path.name.removeprefix(_PREFIX).partition("-")[0]
    return Path(f"/proc/{pid}").exists()
