"""What becomes of claims that cannot be sent to their workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from farm.gateway.server import Gateway
from farm.jobs.retry import Reason
from farm.store import leases
from farm.store.errors import StoreAway
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import IMAGES, eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller


def away(*_: object) -> None:
    raise StoreAway("it is away")


def test_an_outage_of_the_images_costs_few_attempts(
    gateway: Gateway, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_s = time.monotonic() + 3
    read: Callable[[str], Any] = gateway._store.blobs.read_whole

    async def read_whole(key: str) -> bytes:
        if time.monotonic() < back_s:
            away()
        return bytes(await read(key))

    monkeypatch.setattr(gateway._store.blobs, "read_whole", read_whole)
    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), tmp_path):
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    (shot,) = caller.shots(job.name)
    # One each time that it was tried: at once, after 1 second, after 2 more, and after 4 more.
    assert shot.attempt_count <= 4


def test_a_folder_that_is_gone_is_not_the_images_fault(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    blobs, elsewhere = tmp_path / "data" / "blobs", tmp_path / "unmounted"
    shot = caller.shot()
    blobs.rename(elsewhere)
    job = caller.create(shot)
    with running_worker(str(gateway.address), tmp_path):
        eventually(lambda: caller.shots(job.name)[0].attempt_count > 1)
        elsewhere.rename(blobs)
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED


def test_a_claim_that_can_be_neither_sent_nor_handed_back_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        running_gateway(tmp_path / "data", lease_s=2.0) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        write = gateway._store.database.write

        async def without_handing_back(run: Any, *args: Any, **kwargs: Any) -> Any:
            if run is leases.fail and Reason.STORE_AWAY in args:
                away()
            return await write(run, *args, **kwargs)

        read: Callable[[str], Any] = gateway._store.blobs.read_whole
        bad = caller.upload(IMAGES / "coffee.png").removeprefix("images/")
        broken = True

        async def read_whole(key: str) -> bytes:
            if broken and bad in key:
                away()
            return bytes(await read(key))

        monkeypatch.setattr(gateway._store.database, "write", without_handing_back)
        monkeypatch.setattr(gateway._store.blobs, "read_whole", read_whole)
        with running_worker(str(gateway.address), tmp_path):
            shot = caller.shot("bad")
            shot.image = f"images/{bad}"
            job = caller.create(shot)
            eventually(lambda: caller.shots(job.name)[0].attempt_count)
            other = caller.create(caller.shot("good"))
            assert caller.watch(other.name)[-1].job.state == Job.SUCCEEDED
            assert caller.shots(job.name)[0].state in (Shot.QUEUED, Shot.RENDERING)
            broken = False
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
