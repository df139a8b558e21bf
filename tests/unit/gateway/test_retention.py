"""Delete and prune: rows, files and what a dry run tells of them."""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
import time
from pathlib import Path

import grpc
import pytest
from sqlalchemy import Connection, select, update

from farm.gateway.server import Gateway
from farm.jobs.params import TINY
from farm.jobs.retention import GRACE_S
from farm.render.fake import FakeRenderer
from farm.store import schema
from farm.store.blobs import FARM_ID
from farm.store.store import Store
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import IMAGES, eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    return tmp_path / "data" / "blobs"


def keys(blobs: Path) -> set[str]:
    # os.walk passes over folders that go while it looks; rglob does not.
    walked = ((Path(folder), names) for folder, _, names in os.walk(blobs))
    found = {str((folder / name).relative_to(blobs)) for folder, names in walked for name in names}
    return found - {FARM_ID}


def age(gateway: Gateway, blobs: Path, age_s: float = GRACE_S + 60) -> None:
    """Makes every image and file older than it is."""
    then_s = time.time() - age_s

    def make_older(conn: Connection) -> None:
        for table in (schema.image, schema.image_owner):
            conn.execute(update(table).values(create_time_s=then_s, want_time_s=None))

    gateway._store.database.submit(make_older).result()
    for key in keys(blobs):
        os.utime(blobs / key, (then_s, then_s))


def rendered(gateway: Gateway, caller: Caller, folder: Path) -> Job:
    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), folder):
        return caller.watch(job.name)[-1].job


def prune(caller: Caller, older_than_s: int = 0, **given: object) -> pb.PruneJobsResponse:
    request = pb.PruneJobsRequest(**given)  # type: ignore[arg-type]
    request.older_than.FromSeconds(older_than_s)
    return caller.render.PruneJobs(request)


def test_deleting_a_job_frees_what_only_it_used(
    gateway: Gateway, caller: Caller, tmp_path: Path, blobs: Path
) -> None:
    job = rendered(gateway, caller, tmp_path)
    young = caller.upload(IMAGES / "coffee.png")
    assert len(keys(blobs)) == 3
    age(gateway, blobs)
    caller.render.GetImage(pb.GetImageRequest(name=young))  # somebody is about to use it
    caller.render.DeleteJob(pb.DeleteJobRequest(name=job.name))
    assert keys(blobs) == {young}


@pytest.mark.parametrize("by", ["delete", "prune"])
def test_rows_that_are_gone_are_told_though_their_files_wait(
    gateway: Gateway,
    caller: Caller,
    tmp_path: Path,
    blobs: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    job = rendered(gateway, caller, tmp_path)
    before = keys(blobs)
    age(gateway, blobs)

    def broken(*keys: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(gateway._store.blobs, "delete", broken)
    if by == "delete":
        caller.render.DeleteJob(pb.DeleteJobRequest(name=job.name))
    else:
        assert prune(caller).job_count == 1
    with pytest.raises(grpc.RpcError) as gone:
        caller.job(job.name)
    assert gone.value.code() == grpc.StatusCode.NOT_FOUND
    assert keys(blobs) == before
    noted = select(schema.deletion.c.key)
    database = gateway._store.database
    assert set(database.submit(lambda c: c.execute(noted).scalars().all()).result()) == before


def test_an_image_that_a_client_asked_for_waits_for_its_job(
    gateway: Gateway, caller: Caller, blobs: Path
) -> None:
    name = caller.upload()
    age(gateway, blobs)
    caller.render.GetImage(pb.GetImageRequest(name=name))
    assert prune(caller).image_count == 0
    age(gateway, blobs)
    assert prune(caller).image_count == 1
    with pytest.raises(grpc.RpcError) as gone:
        caller.render.GetImage(pb.GetImageRequest(name=name))
    assert gone.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_dry_run_tells_what_a_prune_then_deletes(
    gateway: Gateway, caller: Caller, tmp_path: Path, blobs: Path
) -> None:
    job = rendered(gateway, caller, tmp_path)
    (shot,) = caller.shots(job.name)
    lost = blobs / "videos" / "lost" / "1-1-abc.mp4"
    lost.parent.mkdir()
    lost.write_bytes(b"whose commit was refused")
    before = keys(blobs)
    assert len(before) == 3
    age(gateway, blobs)
    told = prune(caller, dry_run=True)
    assert told == pb.PruneJobsResponse(
        job_count=1,
        video_count=1,
        video_size_bytes=shot.video.size_bytes,
        image_count=1,
        image_size_bytes=(IMAGES / "rocket.jpg").stat().st_size,
        orphan_count=1,
        orphan_size_bytes=24,
    )
    assert keys(blobs) == before
    assert caller.job(job.name) == job
    assert prune(caller) == told
    assert keys(blobs) == set()
    assert prune(caller) == pb.PruneJobsResponse()


def test_a_video_that_jobs_share_is_told_once_and_only_where_it_goes(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    known = FakeRenderer(dataclasses.replace(TINY, identity="weights-1"))
    with running_worker(str(gateway.address), tmp_path, renderer=known):
        for _ in range(2):
            job = caller.create(caller.shot())
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    (shot,) = caller.shots(job.name)
    assert shot.cached_from
    going = prune(caller, dry_run=True)
    caller.create(caller.shot(), caller.shot(seed=99))  # one of it is there, one waits
    staying = prune(caller, dry_run=True)

    assert (going.job_count, going.video_count) == (2, 1)
    assert going.video_size_bytes == shot.video.size_bytes
    assert (staying.job_count, staying.video_count, staying.video_size_bytes) == (2, 0, 0)
    assert prune(caller) == staying


def test_a_job_that_has_not_ended_keeps_its_image(
    gateway: Gateway, caller: Caller, tmp_path: Path, blobs: Path
) -> None:
    job = caller.create(caller.shot(step_count=100), caller.shot("b"))
    with running_worker(str(gateway.address), tmp_path, step_s=0.02):
        eventually(lambda: caller.shots(job.name)[0].state == Shot.RENDERING)
        age(gateway, blobs)
        assert prune(caller) == pb.PruneJobsResponse()
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED


def test_what_is_young_stays(gateway: Gateway, caller: Caller, tmp_path: Path, blobs: Path) -> None:
    job = rendered(gateway, caller, tmp_path)
    (blobs / "videos" / "arriving.mp4").write_bytes(b"its row is on its way")
    assert prune(caller, 3600) == pb.PruneJobsResponse()
    assert prune(caller, states=[Job.FAILED]) == pb.PruneJobsResponse()
    told = prune(caller, states=[Job.FAILED, Job.SUCCEEDED])
    assert (told.job_count, told.image_count, told.orphan_count) == (1, 0, 0)
    assert len(keys(blobs)) == 2
    with pytest.raises(grpc.RpcError):
        caller.job(job.name)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (pb.PruneJobsRequest(), "older_than is missing; allowed: from 0 s"),
        (pb.PruneJobsRequest(older_than={"seconds": -5}), "older_than is -5 s"),
        (
            pb.PruneJobsRequest(older_than={"seconds": 5}, states=[Job.RUNNING]),
            "states has RUNNING; allowed: CANCELLED, FAILED, SUCCEEDED. Cancel other jobs first",
        ),
    ],
)
def test_a_prune_that_cannot_be_meant_is_refused(
    caller: Caller, request_: pb.PruneJobsRequest, told: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        caller.render.PruneJobs(request_)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert told in str(refused.value.details())


def test_a_gateway_with_a_retention_prunes_by_itself(tmp_path: Path, blobs: Path) -> None:
    data = tmp_path / "data"
    with (
        running_gateway(data) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        ended = rendered(gateway, caller, tmp_path)
        waiting = caller.create(caller.shot())
        (video,) = blobs.rglob("*.mp4")
    with (
        running_gateway(data, retention_s=0.0) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        eventually(lambda: not video.exists())
        jobs = caller.render.ListJobs(pb.ListJobsRequest()).jobs
        assert [job.name for job in jobs] == [waiting.name] != [ended.name]


def test_a_deletion_that_a_crash_cut_off_is_ended_by_the_next_gateway(
    tmp_path: Path, blobs: Path
) -> None:
    data = tmp_path / "data"

    def note(conn: Connection) -> None:
        conn.execute(schema.deletion.insert(), [{"key": "videos/a/1-1-abc.mp4"}])

    store = Store.open(data)
    store.database.submit(note).result()
    store.close()
    left = blobs / "videos" / "a" / "1-1-abc.mp4"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of a deleted job")
    with running_gateway(data):
        eventually(lambda: not left.exists())


def test_what_a_killed_gateway_left_half_written_goes_while_another_one_runs(
    tmp_path: Path, blobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.collector._EVERY_S", 0.01)
    with running_gateway(tmp_path / "data"):
        staged = blobs / "a.mp4#1"  # too young for whoever was started just after
        staged.write_bytes(b"vid")
        os.utime(staged, (0, 0))
        eventually(lambda: not staged.exists())


def test_a_prune_goes_on_when_its_caller_waits_no_longer(
    gateway: Gateway, caller: Caller, tmp_path: Path, blobs: Path
) -> None:
    job = rendered(gateway, caller, tmp_path)
    release = threading.Event()
    gateway._store.database.submit(lambda _: release.wait(20))  # nobody else can write
    request = pb.PruneJobsRequest()
    request.older_than.FromSeconds(0)
    with pytest.raises(grpc.RpcError) as late:
        caller.render.PruneJobs(request, timeout=0.3)
    release.set()
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: not any(job.name.removeprefix("jobs/") in key for key in keys(blobs)))
