"""The client for asyncio: the same talk with the farm, beside a loop that goes on."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

import svdfarm
from svdfarm import AsyncClient, Job, JobState, NewShot, RenderParams, ShotState
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import resources_pb2 as pb
from tests.running import free_port
from tests.unit.client.running_farm import RunningFarm, running_farm
from tests.unit.client.scripted_farm import (
    CHUNK,
    DATA,
    VIDEO,
    Scripted,
    abort,
    job,
    send,
    serving,
    tell,
)

SMALL = RenderParams(model="tiny", width_px=64, height_px=64, frame_count=3, step_count=2)
WAITING = RenderParams(model="svd")  # no worker serves it


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
async def async_client(farm: RunningFarm) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(farm.address, connect_timeout_s=5) as client:
        yield client


async def test_every_video_arrives_once_and_as_the_farm_hashed_it(
    async_client: AsyncClient, photo: Path, tmp_path: Path
) -> None:
    takes = [NewShot(photo, SMALL, name=f"take-{n}") for n in range(3)]
    handle = await async_client.submit(takes, display_name="takes")

    saved = {await video.save(tmp_path): video async for video in handle.videos(timeout_s=60)}

    assert {path.name for path in saved} == {"take-0.mp4", "take-1.mp4", "take-2.mp4"}
    for path, video in saved.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == video.video.sha256
        assert await video.read() == path.read_bytes()
    ended = await handle.wait(timeout_s=60)
    assert (ended.state, ended.display_name) == (JobState.SUCCEEDED, "takes")
    assert (await anext(async_client.jobs())).name == handle.name


async def test_a_video_is_downloaded_by_its_name(
    async_client: AsyncClient, photo: Path, tmp_path: Path
) -> None:
    handle = await async_client.submit(photo, params=SMALL)
    video = await anext(handle.videos(timeout_s=60))

    path = await async_client.download(f"{video.shot.name}/video", tmp_path / "clip.mp4")

    assert path.read_bytes() == await video.read()


async def test_progress_of_an_upload_is_told_after_each_image(
    async_client: AsyncClient, photo: Path
) -> None:
    data = await asyncio.to_thread(photo.read_bytes)
    images = [data, data + bytes(1), data + bytes(2), data]  # as cameras end them
    size_bytes = sum(len(image) for image in images[:3])
    told: list[tuple[int, int]] = []

    handle = await async_client.submit(
        images, params=WAITING, progress=lambda *bytes_: told.append(bytes_)
    )

    assert [total for _, total in told] == [size_bytes] * 3
    assert told == sorted(told)
    assert told[-1] == (size_bytes, size_bytes)
    await handle.cancel()


async def test_a_job_is_changed_as_by_the_other_client(
    async_client: AsyncClient, photo: Path
) -> None:
    handle = await async_client.submit([photo, photo], params=WAITING)

    assert (await handle.pause()).state is JobState.PAUSED
    assert (await handle.resume()).state is JobState.QUEUED
    assert (await handle.update(priority=7)).priority == 7
    assert (await handle.cancel()).name == handle.name
    assert (await handle.wait(timeout_s=30)).state is JobState.CANCELLED
    shots = [shot async for shot in handle.shots()]
    assert [shot.state for shot in shots] == [ShotState.CANCELLED] * 2
    assert await handle.requeue([ShotState.CANCELLED], shots[:1]) == 1
    with pytest.raises(svdfarm.Rejected) as refused:
        await handle.delete()
    assert refused.value.reason == "JOB_NOT_ENDED"
    await handle.cancel()
    await handle.delete()
    with pytest.raises(svdfarm.NotFound):
        await handle.get()
    pruned = await async_client.prune(timedelta(days=1), [JobState.CANCELLED], dry_run=True)
    assert pruned.job_count == 0


async def test_workers_are_listed_drained_and_uncordoned(tmp_path: Path, photo: Path) -> None:
    with running_farm(tmp_path) as farm:
        farm.add_worker()
        async with AsyncClient(farm.address) as client:
            await (await client.submit(photo, params=SMALL)).wait(timeout_s=60)
            (worker,) = [worker async for worker in client.workers()]

            await client.uncordon_worker(worker.name)
            drained = await client.drain_worker(worker.name.removeprefix("workers/"))

    assert drained.name == worker.name


async def test_jobs_are_submitted_and_followed_at_the_same_time(
    async_client: AsyncClient, photo: Path
) -> None:
    async def render(seed: int) -> JobState:
        handle = await async_client.submit(photo, params=SMALL)
        return (await handle.wait(timeout_s=60)).state

    states = await asyncio.gather(*(render(seed) for seed in range(20)))

    assert states == [JobState.SUCCEEDED] * 20


async def test_waiting_ends_at_its_timeout_and_names_the_job(
    async_client: AsyncClient, photo: Path
) -> None:
    handle = await async_client.submit(photo, params=WAITING)

    with pytest.raises(svdfarm.DeadlineExceeded, match=handle.name):
        await handle.wait(timeout_s=0.3)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await handle.wait()

    await handle.cancel()


async def test_an_image_that_the_farm_cannot_decode_names_its_shot(
    async_client: AsyncClient, photo: Path
) -> None:
    broken = b"\x89PNG\r\n\x1a\nno pixels"

    with pytest.raises(svdfarm.ShotRejected) as caught:
        await async_client.submit([photo, broken], params=SMALL)

    assert [violation.field for violation in caught.value.violations] == ["shots[1].image"]


async def test_no_farm_is_unreachable_after_the_connect_timeout() -> None:
    told: list[str] = []
    address = f"127.0.0.1:{free_port()}"
    async with AsyncClient(
        address, connect_timeout_s=0.3, on_waiting=lambda reason, _: told.append(reason)
    ) as client:
        with pytest.raises(svdfarm.Unreachable, match=address):
            await anext(client.jobs())

    assert len(told) == 1


async def test_a_wrong_token_is_told(tmp_path: Path) -> None:
    with running_farm(tmp_path, "a-long-and-random-one") as farm:
        async with AsyncClient(farm.address, "another-long-random-one") as client:
            with pytest.raises(svdfarm.Unauthenticated):
                await anext(client.workers())


def test_a_client_may_be_made_before_its_loop_runs(farm: RunningFarm, photo: Path) -> None:
    client = AsyncClient(farm.address)

    async def ask() -> Job:
        async with client:
            handle = await client.submit(photo, params=SMALL)
            return await handle.wait(timeout_s=60)

    assert asyncio.run(ask()).state is JobState.SUCCEEDED


async def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    broken = send(DATA[:CHUNK], then=grpc.StatusCode.UNAVAILABLE)
    servicer = Scripted(DownloadVideo=[broken, abort(grpc.StatusCode.UNAVAILABLE), send(DATA)])
    seen: list[tuple[int, int]] = []

    def progress(done_bytes: int, size_bytes: int) -> None:
        seen.append((done_bytes, size_bytes))

    with serving(servicer) as address:
        async with AsyncClient(address) as client:
            path = await client.download(VIDEO, tmp_path / "clip.mp4", progress=progress)

    assert path.read_bytes() == DATA
    assert [request.offset_bytes for request in servicer.requests] == [0, CHUNK, CHUNK]
    assert seen == [(done, len(DATA)) for done in (CHUNK, 2 * CHUNK, len(DATA))]
    assert names(tmp_path) == ["clip.mp4"]


async def test_bytes_that_are_not_the_farms_are_never_kept(tmp_path: Path) -> None:
    with serving(Scripted(DownloadVideo=[send(DATA[:-1] + b"\0")])) as address:
        async with AsyncClient(address) as client:
            with pytest.raises(svdfarm.DownloadBroken, match="sha256"):
                await client.download(VIDEO, tmp_path / "clip.mp4")

    assert names(tmp_path) == []


async def test_a_cancelled_download_leaves_no_file_and_ends_its_stream(tmp_path: Path) -> None:
    def stall(
        request: rpc.DownloadVideoRequest, _: grpc.ServicerContext
    ) -> Iterator[rpc.DownloadVideoResponse]:
        yield rpc.DownloadVideoResponse(data=DATA[:CHUNK])
        servicer.cancelled.wait(30)

    servicer = Scripted(DownloadVideo=[stall])
    arrived = asyncio.Event()
    with serving(servicer) as address:
        async with AsyncClient(address) as client:
            saving = asyncio.create_task(
                client.download(VIDEO, tmp_path / "clip.mp4", progress=lambda *_: arrived.set())
            )
            await arrived.wait()
            half = names(tmp_path)
            saving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await saving
            assert await asyncio.to_thread(servicer.cancelled.wait, 10)

    assert len(half) == 1
    assert names(tmp_path) == []


async def test_a_cancelled_submission_ends_its_calls(photo: Path) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stall(_: object, __: grpc.ServicerContext) -> pb.Image:
        loop.call_soon_threadsafe(asked.set)
        servicer.cancelled.wait(30)
        return pb.Image()

    servicer = Scripted(GetImage=[stall])
    with serving(servicer) as address:
        async with AsyncClient(address) as client:
            submitting = asyncio.create_task(client.submit(photo))
            await asked.wait()
            submitting.cancel()
            with pytest.raises(asyncio.CancelledError):
                async with asyncio.timeout(10):  # the farm would take 30 s
                    await submitting
            assert await asyncio.to_thread(servicer.cancelled.wait, 10)


async def test_a_broken_watch_goes_on_after_the_last_change_it_saw() -> None:
    servicer = Scripted(
        WatchJob=[
            tell(job(pb.Job.RUNNING, "old"), then=grpc.StatusCode.UNAVAILABLE),
            tell(then=grpc.StatusCode.OUT_OF_RANGE),
            tell(job(pb.Job.RUNNING, "7"), then=grpc.StatusCode.UNAVAILABLE),
            tell(job(pb.Job.SUCCEEDED, "8")),
        ]
    )

    with serving(servicer) as address:
        async with AsyncClient(address) as client:
            events = [event async for event in client.job("j").watch(timeout_s=30)]

    assert [event.state for event in events][-1] is JobState.SUCCEEDED
    assert [request.resume_token for request in servicer.requests] == ["", "old", "", "7"]


@pytest.fixture
def endless() -> Iterator[tuple[str, Scripted]]:
    """A farm that tells of a job once, and then no more."""

    def watch(_: object, __: grpc.ServicerContext) -> Iterator[rpc.WatchJobResponse]:
        yield job(pb.Job.RUNNING, "1")
        servicer.cancelled.wait(30)

    servicer = Scripted(WatchJob=[watch])
    with serving(servicer) as address:
        yield address, servicer


async def test_a_closed_watch_is_cancelled_at_the_server(endless: tuple[str, Scripted]) -> None:
    address, servicer = endless
    async with AsyncClient(address) as client:
        async with aclosing(client.job("j").watch()) as events:
            assert isinstance(await anext(events), Job)

        assert await asyncio.to_thread(servicer.cancelled.wait, 10)


async def test_a_watch_ends_with_an_error_when_its_client_is_closed(
    endless: tuple[str, Scripted],
) -> None:
    address, _ = endless
    client = AsyncClient(address)
    events = client.job("j").watch()
    await anext(events)
    waiting = asyncio.create_task(anext(events))  # type: ignore[arg-type]
    await asyncio.sleep(0)

    await client.close()

    with pytest.raises(svdfarm.FarmFailed, match="client was closed"):
        await waiting


async def test_a_loop_goes_on_while_a_file_is_read(async_client: AsyncClient, photo: Path) -> None:
    free = threading.Event()

    class SlowImage:
        """Saves itself once the loop has done something else."""

        def save(self, fp: object, format: str | None = None, **_: object) -> None:  # noqa: A002
            assert free.wait(10)
            fp.write(photo.read_bytes())  # type: ignore[attr-defined]

    async def do_something_else() -> None:
        free.set()

    handle, _ = await asyncio.gather(
        async_client.submit(SlowImage(), params=WAITING), do_something_else()
    )

    await handle.cancel()
