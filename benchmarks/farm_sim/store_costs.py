"""What the store's work for a shot costs, by how many are done in one transaction.

Processor seconds of this process, as the gateway would spend them, and of PostgreSQL's; and what
the writer waits beside its own work: the database's, the way there, and the disk.
"""

from __future__ import annotations

import contextlib
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.farm_sim.processes import database_s, postmaster
from farm.gateway.claiming import claim_for
from farm.gateway.upload import record
from farm.jobs.params import TINY, RenderParams, resolve
from farm.jobs.schedule import WorkerView, shape_of
from farm.store import inputs, jobs, leases
from farm.store.claims import Claim
from farm.store.database import Database
from farm.store.postgres import Postgres, read_url
from farm.store.records import Image, NewJob, NewShot, Video
from farm.store.sqlite import Sqlite
from svdfarm.v1 import resources_pb2 as pb

GROUPS = (1, 4, 16, 64)
_IMAGE = Image("a" * 64, size_bytes=10, width_px=64, height_px=64)
_JOB_SHOTS = 5_000
_PARAMS = resolve(RenderParams(), TINY, seed=1)
_SHAPE, _MODELS = shape_of(_PARAMS), frozenset({TINY.name})


def measure(url: str | None, *, shots: int, rounds_s: float) -> dict[str, Any]:
    """By kind of work and group size: milliseconds a group."""
    with _database(url) as database:
        _fill(database, shots)
        server = postmaster(url) if url else None
        told: dict[str, Any] = {"shots_queued": shots}
        for size in GROUPS:
            for kind, spent in _rounds(database, size, rounds_s, server).items():
                told.setdefault(kind, {})[str(size)] = spent
    return told


@contextlib.contextmanager
def _database(url: str | None) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="sim-store-") as folder:
        backend = Postgres(read_url(url)) if url else Sqlite(Path(folder) / "farm.db")
        database = Database.open(backend)
        try:
            yield database
        finally:
            database.close()


def _fill(database: Database, shots: int) -> None:
    database.submit(inputs.put_image, _IMAGE, 0.0).result()
    for start in range(0, shots, _JOB_SHOTS):
        new = tuple(
            NewShot(f"s{n}", f"s{n}.mp4", _IMAGE.sha256, _PARAMS)
            for n in range(min(_JOB_SHOTS, shots - start))
        )
        database.submit(jobs.create_job, NewJob("a job", 0, new, None, "0" * 64), 0.0).result()


def _rounds(
    database: Database, size: int, rounds_s: float, server: int | None
) -> dict[str, dict[str, float]]:
    meters = {kind: _Meter(server) for kind in ("claim", "start", "record", "renew", "miss")}
    ends = time.monotonic() + rounds_s
    number = 0
    while time.monotonic() < ends:
        number += 1
        # As most are: they have rendered this shape before.
        names = [f"w{number}-{n}" for n in range(size)]
        free = [WorkerView(name, _MODELS, idle=True, warm=(_SHAPE,)) for name in names]
        args = (free, list, 1e12, 0.0, time.time(), "here")
        with meters["claim"]:
            claimed: list[Claim] = database.submit(claim_for, *args).result()
        assert len(claimed) == size
        held = [claim.lease for claim in claimed]
        with meters["start"]:
            _together(database, leases.start, [(lease, time.time()) for lease in held])
        workers, tokens = {view.worker for view in free}, [lease.token for lease in held]
        with meters["renew"]:
            database.submit(leases.renew, workers, tokens, 1e12).result()
        if number % 8 == 1:  # for workers of a model that no shot wants
            others = [WorkerView(view.worker, frozenset({"other"}), idle=True) for view in free]
            with meters["miss"]:
                assert not database.submit(claim_for, others, *args[1:]).result()
        endings = [_ending(claim) for claim in claimed]
        with meters["record"]:
            _together(database, record, endings)
    return {kind: meter.figures() for kind, meter in meters.items()}


def _ending(claim: Claim) -> tuple[Any, ...]:
    params = claim.shot.params
    told = pb.Video(
        frame_count=params.frame_count,
        width_px=params.width_px,
        height_px=params.height_px,
        media_type=params.container.media_type,
    )
    sha256 = secrets.token_hex(32)
    video = Video(claim.lease.video_key(sha256, params.container), sha256, 10_000, 7)
    return claim.lease, told, video, 10.0, {"tiny": "i"}, "[]", time.time()


def _together(database: Database, fn: Callable[..., Any], items: list[tuple[Any, ...]]) -> None:
    """Has the writer make all of these in one transaction."""
    go = threading.Event()
    database.submit(lambda _: go.wait())
    done: list[Future[Any]] = [database.submit(fn, *item) for item in items]
    go.set()
    for each in done:
        assert each.result() is not False


class _Meter:
    """Adds up what is spent within its with blocks."""

    def __init__(self, server: int | None) -> None:
        self._server = server
        self._walls: list[float] = []
        self._cpu_s = self._database_s = 0.0

    def __enter__(self) -> None:
        database = self._database()
        self._before = time.process_time(), database
        self._began_s = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._walls.append(time.perf_counter() - self._began_s)
        cpu_s, database = self._before
        self._cpu_s += time.process_time() - cpu_s
        self._database_s += self._database() - database

    def _database(self) -> float:
        return database_s(self._server) if self._server else 0.0

    def figures(self) -> dict[str, float]:
        """Milliseconds a group."""
        count = len(self._walls)
        return {
            "groups": count,
            "cpu_ms": round(self._cpu_s / count * 1e3, 3),
            "database_cpu_ms": round(self._database_s / count * 1e3, 3),
            # The median: others are at work on this machine.
            "wall_ms": round(statistics.median(self._walls) * 1e3, 3),
        }
