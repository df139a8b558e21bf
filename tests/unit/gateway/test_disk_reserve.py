"""A disk that fills: nothing new is accepted or begun, what renders ends, nothing is lost."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from farm.cli.exits import CommandFailed
from farm.cli.sizes import read_size_bytes
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import IMAGES, eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller, reason

# Other programs write too: the reserve is this far below what is free, and the ballast above it.
SLACK_BYTES = 2**29


@contextmanager
def ballast(path: Path) -> Iterator[None]:
    """Takes twice the slack from the disk that `path` is on."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 2 * SLACK_BYTES)
    try:
        yield
    finally:
        path.unlink()


def test_a_nearly_full_disk_stops_new_work_and_loses_none(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    reserve_bytes = disk.f_bavail * disk.f_frsize - SLACK_BYTES
    with (
        running_gateway(
            tmp_path / "data", lease_s=2.0, disk_reserve_bytes=reserve_bytes
        ) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        job = caller.create(caller.shot("renders", step_count=40), caller.shot("waits"))
        shot = caller.shot("refused")
        with running_worker(str(gateway.address), tmp_path, step_s=0.05):
            eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
            with ballast(tmp_path / "ballast"):
                with pytest.raises(grpc.RpcError) as refused:
                    caller.create(shot)
                assert reason(refused.value) == "DISK_LOW"
                assert "that are kept back: free space there" in refused.value.details()
                with pytest.raises(grpc.RpcError) as refused:
                    caller.upload()
                assert reason(refused.value) == "DISK_LOW"
                eventually(lambda: caller.shots(job.name)[0].state == Shot.SUCCEEDED)
                assert caller.shots(job.name)[1].state == Shot.QUEUED
                assert caller.job(job.name).notice.startswith("no shot starts: the disk of")
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
            assert [s.attempt_count for s in caller.shots(job.name)] == [1, 1]
            assert caller.create(shot).state == Job.QUEUED


@pytest.fixture
def nearly_low(tmp_path: Path) -> Iterator[Caller]:
    """A gateway whose disk is low as soon as there is ballast on it."""
    disk = os.statvfs(tmp_path)
    reserve_bytes = disk.f_bavail * disk.f_frsize - SLACK_BYTES
    with (
        running_gateway(tmp_path / "data", disk_reserve_bytes=reserve_bytes) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        yield Caller(channel)


def test_an_upload_that_began_with_room_stops_where_there_is_none_left(
    nearly_low: Caller, tmp_path: Path
) -> None:
    data = (IMAGES / "rocket.jpg").read_bytes()
    spool = tmp_path / "data" / "spool"

    def parts() -> Iterator[pb.UploadImageRequest]:
        yield pb.UploadImageRequest(data=data[:20_000])
        eventually(lambda: [f for f in spool.glob("*/*.image") if f.stat().st_size])
        disk_low.enter_context(ballast(tmp_path / "ballast"))
        yield pb.UploadImageRequest(data=data[20_000:])

    with ExitStack() as disk_low, pytest.raises(grpc.RpcError) as refused:
        nearly_low.render.UploadImage(parts())
    assert reason(refused.value) == "DISK_LOW"
    assert not list(spool.glob("*/*.image"))


def test_a_job_that_was_accepted_is_told_again_on_a_low_disk(
    nearly_low: Caller, tmp_path: Path
) -> None:
    request_id, shot = str(uuid.uuid4()), nearly_low.shot()
    job = nearly_low.create(shot, request_id=request_id)
    with ballast(tmp_path / "ballast"):
        assert nearly_low.create(shot, request_id=request_id).name == job.name
        with pytest.raises(grpc.RpcError) as refused:
            nearly_low.create(shot, request_id=str(uuid.uuid4()))
        assert reason(refused.value) == "DISK_LOW"


@pytest.mark.parametrize(("text", "size_bytes"), [("0B", 0), ("3MiB", 3 * 2**20), ("2 GiB", 2**31)])
def test_a_size_is_read(text: str, size_bytes: int) -> None:
    assert read_size_bytes(text, "disk_reserve") == size_bytes


@pytest.mark.parametrize("text", ["", "5", "5GB", "-1GiB", "1.5GiB", "٣MiB"])
def test_a_size_that_is_none_is_refused_in_words(text: str) -> None:
    with pytest.raises(CommandFailed, match=r"disk_reserve is .*; allowed: .* such as 2GiB"):
        read_size_bytes(text, "disk_reserve")
