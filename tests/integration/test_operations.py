"""Backups as docs/OPERATIONS.md makes them, taken while the farm renders, and restored elsewhere.

Gateways are real, and so are the command and PostgreSQL's programs; GPUs are fake.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from farm.gateway.server import Gateway
from svdfarm import Client, NewShot, RenderParams, Shot, ShotState
from svdfarm.jobs import JobHandle
from tests.postgres import PostgresServer
from tests.running import IMAGES, eventually, free_port, running_gateway, running_worker

FARM = Path(sys.executable).parent / "farm"
DRILL = Path(__file__).parents[2] / "deploy" / "drill.sh"
SHOTS = 12
PARAMS = RenderParams(model="tiny", step_count=10)


@contextmanager
def farm(folder: Path, data: Path, **settings: Any) -> Iterator[tuple[Gateway, Client]]:
    """A gateway with two workers."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        gateway = stack.enter_context(running_gateway(data, lease_s=2.0, **settings))
        for _ in range(2):
            worker = running_worker(str(gateway.address), folder, step_s=0.05)
            stack.enter_context(worker)
        yield gateway, stack.enter_context(Client(str(gateway.address)))


def submit(client: Client) -> JobHandle:
    shots = [NewShot(IMAGES / "rocket.jpg", PARAMS, name=f"s{n}") for n in range(SHOTS)]
    return client.submit(shots, use_cache=False)


def ended(job: JobHandle) -> dict[str, Shot]:
    return {s.name: s for s in job.shots() if s.state is ShotState.SUCCEEDED}


def back_up(data: Path, to: Path, code: int = 0) -> str:
    """What `farm backup` says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
    command = [FARM, "backup", to, "--data", data]
    done = subprocess.run(command, capture_output=True, text=True, env=kept)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def check_all(job: JobHandle, before: dict[str, Shot], folder: Path) -> None:
    """Every shot has ended, once, and its video is there; what was done stayed as it was."""
    assert len(ended(job)) == SHOTS
    assert {name: shot for name, shot in ended(job).items() if name in before} == before
    for video in job.videos(timeout_s=30):
        video.save(f"{folder}/")  # checked by its sha256
    assert len(list(folder.iterdir())) == SHOTS


def test_a_backup_of_a_farm_that_renders_is_restored_and_goes_on(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with farm(tmp_path / "old", data) as (_, client):
        job = submit(client)
        eventually(lambda: len(ended(job)) >= 3)
        assert "images and videos" in back_up(data, backup)
        job.wait(timeout_s=60)
        check_all(job, {}, tmp_path / "whole")
    assert not (backup / "lock").exists()

    restored = tmp_path / "restored"
    shutil.copytree(backup, restored)
    # The disk with the videos survived: some are newer than the database that comes back.
    newer = [p for p in (data / "blobs").rglob("*.mp4") if not backed_up(p, data, backup)]
    assert newer
    shutil.copytree(data / "blobs", restored / "blobs", dirs_exist_ok=True)
    with running_gateway(restored) as gateway, Client(str(gateway.address)) as client:
        before = ended(client.job(job.name))
        assert 3 <= len(before) < SHOTS
    with farm(tmp_path / "new", restored) as (_, client):
        job = client.job(job.name)
        job.wait(timeout_s=60)
        check_all(job, before, tmp_path / "again")
        # Those of attempts that began before the backup are strays now: a day later a prune takes
        # them, and nothing else. Others came out the same once more, under the same name.
        old = time.time() - 2 * 86400
        for path in (restored / "blobs").rglob("*.mp4"):
            os.utime(path, (old, old))
        again = sum(shot.attempt_count == 2 for shot in job.shots())
        assert 0 < again <= len(newer)
        pruned = client.prune(timedelta(days=10), dry_run=True)
        assert (pruned.job_count, pruned.orphan_count) == (0, again)


def backed_up(path: Path, data: Path, backup: Path) -> bool:
    return (backup / path.relative_to(data)).exists()


def drill(backup: Path) -> subprocess.CompletedProcess[str]:
    """What a drill says; of its gateway nothing is left."""
    port = free_port()
    done = subprocess.run(
        [DRILL, backup, FARM],
        capture_output=True,
        text=True,
        env={**os.environ, "DRILL_PORT": str(port)},
    )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    return done


def test_a_backup_is_brought_up_to_date(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with farm(tmp_path / "farm", data) as (_, client):
        submit(client).wait(timeout_s=60)
        first = back_up(data, backup)
        job = submit(client)
        job.wait(timeout_s=60)
        second = back_up(data, backup)
    assert f" {SHOTS + 1} of them new" in first  # with the image
    assert f" {SHOTS} of them new" in second
    done = drill(backup)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"2 jobs, {2 * SHOTS} videos" in done.stdout

    (video,) = [p for p in backup.rglob("*.mp4") if job.name.removeprefix("jobs/") in str(p)][:1]
    video.write_bytes(video.read_bytes()[:-1] + b"?")
    done = drill(backup)
    assert done.returncode != 0
    assert "sha256" in done.stderr


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data, to: (to / "x").touch(), "is no backup and not empty"),
        (lambda data, to: (to / "lock").touch(), "has been a gateway's data folder"),
        (lambda data, to: (data / "farm.db").rename(data / "gone"), "has no farm.db"),
        (lambda data, to: other_farm(to), "is a backup of another farm"),
    ],
)
def test_a_place_that_is_no_backups_is_left_alone(spoil: Any, why: str, tmp_path: Path) -> None:
    data, to = tmp_path / "data", tmp_path / "to"
    with running_gateway(data):
        pass
    to.mkdir()
    spoil(data, to)
    left = sorted(to.rglob("*"))
    assert why in back_up(data, to, code=1)
    assert sorted(to.rglob("*")) == left


def other_farm(to: Path) -> None:
    (to / "farm.db").touch()
    (to / "blobs").mkdir()
    (to / "blobs" / "farm-id").write_text("another")


def test_a_dump_of_a_postgresql_is_restored_and_goes_on(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    data, dump = tmp_path / "data", tmp_path / "farm.dump"
    with postgres.database() as url, farm(tmp_path / "old", data, database=url) as (_, client):
        job = submit(client)
        eventually(lambda: len(ended(job)) >= 3)
        run(postgres.program("pg_dump"), "--format=custom", f"--file={dump}", plain(url))
        job.wait(timeout_s=60)
    restored = tmp_path / "restored"
    shutil.copytree(data / "blobs", restored / "blobs")
    with postgres.database(template="template0") as url:
        run(
            postgres.program("pg_restore"),
            "--no-owner",
            "--exit-on-error",
            f"--dbname={plain(url)}",
            dump,
        )
        with running_gateway(restored, database=url) as gateway, Client(str(gateway.address)) as c:
            before = ended(c.job(job.name))
            assert 3 <= len(before) < SHOTS
        with farm(tmp_path / "new", restored, database=url) as (_, client):
            job = client.job(job.name)
            job.wait(timeout_s=60)
            check_all(job, before, tmp_path / "again")
        with psycopg.connect(plain(url)) as conn:
            assert conn.execute("SELECT count(*) FROM shot").fetchone() == (SHOTS,)


def plain(url: URL) -> str:
    """As PostgreSQL's own programs read it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
