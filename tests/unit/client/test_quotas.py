"""A tenant's quotas are waited out, by those who can wait."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from farm.gateway.server import Gateway
from farm.jobs.tenants import Limits, Tenant
from farm.store import tenants
from svdfarm import AsyncClient, Client, DeadlineExceeded, NewShot, RenderParams, ResourceExhausted
from tests.running import IMAGES, eventually, running_gateway, running_worker
from tests.unit.gateway.tenancy import FARM_TOKEN, add_tenant

PARAMS = RenderParams(width_px=64, height_px=64, frame_count=3, step_count=2)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A farm with one worker."""
    with (
        running_gateway(tmp_path / "data", token=FARM_TOKEN) as gateway,
        running_worker(str(gateway.address), tmp_path, token=FARM_TOKEN),
    ):
        yield gateway


@pytest.fixture
def token(gateway: Gateway) -> str:
    """Of tenant a."""
    return add_tenant(gateway, "a")


@pytest.fixture
def client(gateway: Gateway, token: str) -> Iterator[Client]:
    with Client(str(gateway.address), token) as client:
        yield client


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def limit(gateway: Gateway, **limits: Any) -> None:
    changed = Tenant("a", limits=Limits(**limits))
    gateway._store.database.submit(tenants.change, changed).result()
    eventually(lambda: gateway._quotas._limits.get("a", Limits()) == changed.limits)


def shots(count: int) -> list[NewShot]:
    rocket = (IMAGES / "rocket.jpg").read_bytes()
    # Each is another file, and the same picture: cameras write zeros behind it.
    return [NewShot(rocket + bytes(n), PARAMS, name=f"s{n}") for n in range(count)]


def test_videos_are_saved_as_they_come_with_one_stream_at_a_time(
    gateway: Gateway, client: Client, out: Path
) -> None:
    limit(gateway, max_streams=1)
    job = client.submit(shots(4))
    saved = [video.save(out) for video in job.videos(timeout_s=60)]
    assert sorted(path.name for path in saved) == [f"s{n}.mp4" for n in range(4)]
    assert all(path.stat().st_size for path in saved)


async def test_videos_are_saved_beside_each_other_with_one_stream_at_a_time(
    gateway: Gateway, token: str, out: Path
) -> None:
    limit(gateway, max_streams=1)
    async with AsyncClient(str(gateway.address), token) as client:
        job = await client.submit(shots(4))
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            async for video in job.videos():
                tasks.create_task(video.save(out))
    assert len(await asyncio.to_thread(os.listdir, out)) == 4


def test_threads_share_one_stream(gateway: Gateway, client: Client, out: Path) -> None:
    limit(gateway, max_streams=1)
    job = client.submit(shots(4))
    with ThreadPoolExecutor(4) as pool:
        saving = [pool.submit(v.save, out) for v in job.videos(timeout_s=60)]
        assert len({saved.result(60) for saved in saving}) == 4


def test_a_job_of_many_images_waits_for_its_requests(gateway: Gateway, token: str) -> None:
    limit(gateway, max_requests_per_minute=600)
    told: list[float] = []
    with Client(str(gateway.address), token, on_waiting=lambda _, s: told.append(s)) as waiting:
        list(waiting.jobs())
        gateway._quotas._buckets["a"].left = 0.0  # what may come at once is spent
        job = waiting.submit(shots(10))  # 21 requests, ten a second
        assert job.get().shot_count == 10
    assert told


def test_a_watch_waits_for_a_stream_until_its_deadline(gateway: Gateway, client: Client) -> None:
    job = client.submit(shots(1))
    limit(gateway, max_streams=1)
    with gateway_stream(gateway), pytest.raises(DeadlineExceeded):
        job.wait(timeout_s=1.0)
    assert job.wait(timeout_s=20).state.final


def test_an_upload_waits_for_anothers_stream(gateway: Gateway, token: str) -> None:
    limit(gateway, max_streams=1)
    waits, address = threading.Event(), str(gateway.address)
    with (
        Client(address, token, on_waiting=lambda *_: waits.set()) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        with gateway_stream(gateway):
            submitting = pool.submit(other.submit, shots(1))
            assert waits.wait(10)
        assert submitting.result(20).get().shot_count == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.submit(shots(1)),
        lambda client: client.job("b").get(),
    ],
)
def test_what_no_waiting_helps_is_told_at_once(
    gateway: Gateway, client: Client, ask: Callable[[Client], object]
) -> None:
    limit(gateway, max_requests_per_minute=0)
    with pytest.raises(ResourceExhausted) as caught:
        ask(client)
    assert (caught.value.reason, caught.value.retry_after_s) == ("QUOTA_REQUESTS", None)


def gateway_stream(gateway: Gateway) -> Any:
    """As if somebody else of the tenant held a stream open."""
    return gateway._quotas.stream("a")


def test_a_watch_makes_way_for_a_download_while_its_job_goes_on(
    gateway: Gateway, client: Client, out: Path
) -> None:
    limit(gateway, max_streams=1)
    nobody_serves = NewShot(IMAGES / "rocket.jpg", RenderParams(model="svd-xt"))
    job = client.submit([*shots(1), nobody_serves])
    videos = job.videos(timeout_s=60)
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(next(videos).save, out)
        try:
            assert saving.result(20).name == "s0.mp4"
        finally:
            job.cancel()
        assert list(videos) == []
