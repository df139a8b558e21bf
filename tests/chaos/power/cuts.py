"""Cuts the power at moments of a recorded run, and looks whether that broke a promise."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from farm.store.store import Store
from tests.chaos.power.disk import Disk, Record, What
from tests.chaos.power.record import Promise, Promises

_FINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}


def moments(records: list[Record], count: int, rng: random.Random) -> list[int]:
    """After how many records the power is cut: half just behind a sync, where promises are made."""
    syncs = [index + 1 for index, record in enumerate(records) if record.what is What.SYNCED]
    behind = rng.sample(syncs, min(count // 2, len(syncs)))
    others = rng.sample(range(len(records) + 1), min(count - len(behind), len(records)))
    return sorted([*behind, *others])


def cut(
    root: Path, records: list[Record], promises: Promises, count: int, seed: int
) -> Iterator[list[str]]:
    """What each of `count` power cuts broke, as they are tried: `PROMISE kind: what`."""
    rng = random.Random(seed)
    disk, played = Disk(str(root.resolve())), 0
    for moment in moments(records, count, rng):
        for record in records[played:moment]:
            disk.play(record)
        played = moment
        now_ns = records[moment - 1].time_ns if moment else 0
        with tempfile.TemporaryDirectory(prefix="farm-power-", dir=_memory()) as name:
            left = Path(name) / "data"
            left.mkdir()
            disk.leave(left, rng if rng.random() < 0.5 else None)
            yield list(look(left, promises, now_ns))


def _memory() -> str | None:
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > 2**28 else None


def look(data: Path, promises: Promises, now_ns: int) -> Iterator[str]:
    """What is not true of a data folder that a farm promised until `now_ns`."""
    try:
        Store.open(data, lease_s=1.0).close()  # as the gateway's next start does
    except Exception as error:  # noqa: BLE001 - whatever it is, the farm does not start
        yield f"P1 start: {type(error).__name__}: {error}"
        return
    with sqlite3.connect(data / "farm.db") as database:
        database.row_factory = sqlite3.Row
        (intact,) = database.execute("PRAGMA integrity_check").fetchone()
        if intact != "ok":
            yield f"P1 damaged: {intact}"
        jobs = {row["id"] for row in database.execute("SELECT id FROM job")}
        shots = {
            (row["job_id"], row["number"]): row for row in database.execute("SELECT * FROM shot")
        }
    database.close()
    for promise in promises.made:
        if promise.time_ns <= now_ns:
            yield from _broken(promise, promises, now_ns, jobs, shots)
    for (job_id, number), row in shots.items():
        name = f"shot {number} of {job_id}"
        if row["state"] == "SUCCEEDED" and _sha256(data, row["video_key"]) != row["video_sha256"]:
            yield f"P3 video lost: {name}"
        if _sha256(data, f"images/{row['image_sha256']}") != row["image_sha256"]:
            yield f"P1 image lost: {name}"


def _broken(
    promise: Promise,
    promises: Promises,
    now_ns: int,
    jobs: set[str],
    shots: dict[tuple[str, int], sqlite3.Row],
) -> Iterator[str]:
    there = promise.job_id in jobs
    if promise.what == "deleted":
        if there:
            yield f"P2 back: {promise.job_id} was deleted"
        return
    if not there:
        if promises.deleting.get(promise.job_id, now_ns + 1) > now_ns:
            yield f"P1 lost: {promise.job_id} was acknowledged"
        return
    if promise.what == "job":
        for number, seed in enumerate(promise.seeds, start=1):
            row = shots.get((promise.job_id, number))
            if row is None or f'"seed": {seed}' not in row["params"]:
                yield f"P1 changed: shot {number} of {promise.job_id}"
    elif promise.what == "video":
        row = shots[promise.job_id, promise.number]
        if (row["state"], row["video_sha256"]) != ("SUCCEEDED", promise.sha256):
            yield f"P2 lost: shot {promise.number} of {promise.job_id} had ended"


def _sha256(data: Path, key: str) -> str | None:
    path = data / "blobs" / key
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
