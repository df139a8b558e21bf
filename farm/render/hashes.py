"""SHA-256 of a model's files: gigabytes, read once for as long as they stay as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

CACHE_FILE = "hashes.json"


def hash_files(folder: Path, names: Iterable[str], cache_dir: Path) -> dict[str, str]:
    """The SHA-256 of each of these files, in hex, by its path in `folder`.

    What was read before is looked up in `cache_dir`: path, size, inode and both times of change
    tell whether a file is still that one. Archives and images of containers bring their own time
    of the content's change; the inode's is the system's. Raises OSError for a file that cannot be
    read.
    """
    known = _read(cache_dir / CACHE_FILE)
    found = dict(known)
    hashes = {}
    for name in sorted(names):
        path = (folder / name).resolve()  # the hub's snapshots are links to one copy
        stat = path.stat()
        marks = (stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
        key = "|".join(map(str, (path, *marks)))
        if key not in found:
            with path.open("rb") as file:
                found[key] = hashlib.file_digest(file, "sha256").hexdigest()
        hashes[name] = found[key]
    if found != known:
        _write(cache_dir / CACHE_FILE, found)
    return hashes


def _read(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(path: Path, hashes: dict[str, str]) -> None:
    """Several workers may write at once: the last one's stay, and the others' are made again."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(hashes, indent=1, sort_keys=True), encoding="utf-8")
        partial.replace(path)
    except OSError as error:  # the next start reads the files again
        log.warning("hashes not kept in %s: %s", path, error.strerror or error)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
