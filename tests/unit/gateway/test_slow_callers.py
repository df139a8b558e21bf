"""Callers that read slowly, or are gone: the gateway holds little for them, and serves others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from sqlalchemy import Connection, update

from farm.gateway.server import Gateway
from farm.store import schema
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job
from tests.running import eventually, running_worker
from tests.unit.gateway.conftest import Caller

VIDEO_BYTES = 200 * 2**20
READER_COUNT = 20
# Of each, here at both ends: gRPC's own windows, and the megabyte that the gateway reads at a time.
ALLOWED_BYTES = 15 * 2**20

WATCH_AND_DOWNLOAD = """
import sys, grpc
from svdfarm.v1 import render_service_pb2 as pb, render_service_pb2_grpc as pb_grpc
channel = grpc.insecure_channel(sys.argv[1])
render = pb_grpc.RenderServiceStub(channel)
watch = render.WatchJob(pb.WatchJobRequest(name=sys.argv[2]))
next(watch)
download = render.DownloadVideo(pb.DownloadVideoRequest(name=sys.argv[3]))
next(download)
print("begun", flush=True)
input()
"""


@pytest.fixture
def large_video(gateway: Gateway, caller: Caller, tmp_path: Path) -> str:
    """The name of a video that is far larger than any buffer on its way."""
    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), tmp_path):
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    (shot,) = caller.shots(job.name)
    (file,) = (tmp_path / "data" / "blobs" / "videos").rglob("*.mp4")
    os.truncate(file, VIDEO_BYTES)

    def enlarge(conn: Connection) -> None:
        conn.execute(update(schema.shot).values(video_size_bytes=VIDEO_BYTES))

    gateway._store.database.submit(enlarge).result()
    return shot.video.name


def rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_slow_readers_cost_the_gateway_little(
    gateway: Gateway, caller: Caller, large_video: str
) -> None:
    before_bytes = rss_bytes()
    request = pb.DownloadVideoRequest(name=large_video)
    with ExitStack() as channels:
        readers: list[Iterator[pb.DownloadVideoResponse]] = []
        for number in range(READER_COUNT):
            channel = channels.enter_context(
                grpc.insecure_channel(str(gateway.address), options=[("test.reader", number)])
            )
            readers.append(Caller(channel).render.DownloadVideo(request))
        firsts = [next(reader) for reader in readers]
        assert all(first.data for first in firsts)
        grown = [rss_bytes() - before_bytes]
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            caller.job("jobs/" + large_video.split("/")[1])  # it answers meanwhile
            grown.append(rss_bytes() - before_bytes)
        assert max(grown) < READER_COUNT * ALLOWED_BYTES
        assert sum(len(part.data) for part in readers[0]) == VIDEO_BYTES - len(firsts[0].data)


def test_a_caller_that_is_killed_leaves_nothing_behind(
    gateway: Gateway, caller: Caller, large_video: str
) -> None:
    job = caller.create(caller.shot(model="svd-xt"))  # nobody serves it: the watch stays open
    command = [sys.executable, "-c", WATCH_AND_DOWNLOAD]
    gone = subprocess.Popen(
        [*command, str(gateway.address), job.name, large_video],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert gone.stdout is not None
    assert gone.stdin is not None
    assert gone.stdout.readline() == "begun\n"
    assert gateway._feed._watched
    gone.kill()
    gone.wait()
    gone.stdout.close()
    gone.stdin.close()
    eventually(lambda: not gateway._feed._watched)
    open_files = Path("/proc/self/fd")
    eventually(lambda: not any(_is_video(file) for file in open_files.iterdir()))


def _is_video(file: Path) -> bool:
    try:
        return file.readlink().suffix == ".mp4"
    except OSError:  # closed since
        return False
