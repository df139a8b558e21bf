from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.jobs.params import TINY, RenderParams, resolve
from farm.store import inputs, jobs
from farm.store.backend import Backend
from farm.store.database import Database
from farm.store.postgres import Postgres
from farm.store.records import Image, Job, NewJob, NewShot
from farm.store.sqlite import Sqlite
from tests.postgres import PostgresServer

IMAGE = Image("a" * 64, size_bytes=10, width_px=64, height_px=64)
PARAMS = resolve(RenderParams(), TINY, seed=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each kind of database, empty, with the farm's tables."""
    if request.param == "sqlite":
        yield Sqlite(tmp_path / "farm.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield Postgres(url)


@pytest.fixture
def database(backend: Backend) -> Iterator[Database]:
    database = Database.open(backend)
    database.submit(inputs.put_image, IMAGE, 0.0).result()
    yield database
    database.close()


def new_job(shot_count: int = 1, *, priority: int = 0, request_id: str | None = None) -> NewJob:
    shots = tuple(
        NewShot(f"shot-{n}", f"shot-{n}.mp4", IMAGE.sha256, PARAMS)
        for n in range(1, shot_count + 1)
    )
    return NewJob("a job", priority, shots, request_id, request_sha256="0" * 64)


def create(database: Database, shot_count: int = 1, *, priority: int = 0) -> Job:
    return database.submit(jobs.create_job, new_job(shot_count, priority=priority), 0.0).result()
