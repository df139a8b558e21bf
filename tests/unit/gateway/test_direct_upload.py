"""Videos that workers put into a real bucket themselves, with links that the gateway signed."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import grpc
import pytest
import urllib3

from farm.cluster.direct import put_video
from farm.gateway.config import Address, ConfigInvalid
from farm.gateway.server import Gateway
from farm.gateway.upload import Upload
from farm.jobs.codec import Codec
from farm.jobs.params import TINY, RenderParams, resolve
from farm.jobs.retention import GRACE_S, KeptFile
from farm.render.fake import FakeRenderer
from farm.render.probe import probe_video
from farm.store.bucket import Bucket, BucketBlobs
from farm.store.links import Link, Links
from farm.wire import model_to_wire
from svdfarm.v1 import render_service_pb2, resources_pb2
from svdfarm.v1 import session_service_pb2 as pb
from svdfarm.v1 import session_service_pb2_grpc as pb_grpc
from svdfarm.v1.resources_pb2 import Job, Worker
from tests.running import (
    IMAGES,
    LOOPBACK,
    eventually,
    free_port,
    running_gateway,
    running_worker,
)
from tests.s3 import S3Server, faulty
from tests.unit.gateway.conftest import Caller


@pytest.fixture
def spooled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all chunks that come over a session."""
    sizes: list[int] = []
    write = Upload.write

    def noting(upload: Upload, offset_bytes: int, data: bytes) -> None:
        sizes.append(len(data))
        write(upload, offset_bytes, data)

    monkeypatch.setattr(Upload, "write", noting)
    return sizes


@contextmanager
def farm(
    data: Path,
    bucket: Bucket,
    *,
    lease_s: float = 30.0,
    direct_upload: bool = True,
    address: Address = LOOPBACK,
) -> Iterator[tuple[Gateway, Caller]]:
    """A gateway that lets workers upload themselves."""
    with (
        running_gateway(
            data,
            address=address,
            artifacts=bucket,
            direct_upload=direct_upload,
            lease_s=lease_s,
        ) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        yield gateway, Caller(channel)


def rendered(
    gateway: Gateway,
    caller: Caller,
    folder: Path,
    count: int = 1,
    before: Callable[[], None] = lambda: None,
) -> Job:
    """A job of `count` shots, ended, all of them by their first attempt."""
    job = caller.create(*(caller.shot(f"s{n}") for n in range(count)))
    before()  # the next PUT is the worker's
    with running_worker(str(gateway.address), folder):
        ended = caller.watch(job.name)[-1].job
    assert ended.state == Job.SUCCEEDED
    assert [shot.attempt_count for shot in caller.shots(job.name)] == [1] * count
    for shot in caller.shots(job.name):
        whole = caller.download(shot.video.name)
        assert hashlib.sha256(whole).hexdigest() == shot.video.sha256
    return ended


def videos(bucket: Bucket) -> list[str]:
    return [f.key for f in BucketBlobs(bucket).files() if f.key.startswith("videos/")]


def test_a_video_goes_past_the_gateway(s3: S3Server, tmp_path: Path, spooled: list[int]) -> None:
    bucket = s3.bucket()
    with farm(tmp_path / "data", bucket) as (gateway, caller):
        rendered(gateway, caller, tmp_path, count=3)
    assert spooled == []
    assert len(videos(bucket)) == 3


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("direct_upload", [True, False])
def test_a_video_of_any_codec_is_kept_and_told_as_what_it_is(
    s3: S3Server, tmp_path: Path, codec: Codec, direct_upload: bool
) -> None:
    bucket = s3.bucket()
    with farm(tmp_path / "data", bucket, direct_upload=direct_upload) as (gateway, caller):
        shot = caller.shot("one", encoding=resources_pb2.Encoding(codec=codec))
        job = caller.create(shot)
        with running_worker(str(gateway.address), tmp_path):
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        (done,) = caller.shots(job.name)
        (key,) = videos(bucket)
        path = tmp_path / done.output_name
        path.write_bytes(caller.download(done.video.name))
    container = codec.container
    assert done.output_name == f"one.{container}"
    assert key.endswith(f".{container}")
    assert done.video.media_type == container.media_type
    assert probe_video(path).frame_count == 3
    if direct_upload:
        links = Links(bucket)
        told = links._client.head_object(**links._at(key))["ContentType"]
        links.close()
        assert told == container.media_type


def test_by_default_it_does_not(s3: S3Server, tmp_path: Path, spooled: list[int]) -> None:
    bucket = s3.bucket()
    with farm(tmp_path / "data", bucket, direct_upload=False) as (gateway, caller):
        rendered(gateway, caller, tmp_path)
    assert sum(spooled) > 0


@pytest.mark.parametrize(("answers", "lost_replies"), [([], 1), ([503, None, 500], 1), ([409], 0)])
def test_a_bucket_that_fails_at_times_costs_no_attempt(
    s3: S3Server,
    tmp_path: Path,
    spooled: list[int],
    answers: list[int | None],
    lost_replies: int,
) -> None:
    with faulty(s3) as faults:
        bucket = dataclasses.replace(s3.bucket(), endpoint=faults.endpoint)
        with farm(tmp_path / "data", bucket) as (gateway, caller):

            def fail() -> None:
                faults.answers[:], faults.lost_replies = answers, lost_replies

            rendered(gateway, caller, tmp_path, before=fail)
            assert (faults.answers, faults.lost_replies) == ([], 0)
        assert spooled == []
        assert len(videos(bucket)) == 1


@pytest.mark.parametrize("there", [True, False])
def test_a_worker_that_cannot_reach_the_bucket_sends_its_videos_over_the_session(
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spooled: list[int],
    there: bool,
) -> None:
    monkeypatch.setattr("farm.cluster.direct._RETRY_S", 0.3)
    tried: list[str] = []
    sign = Links.sign

    def put(link: pb.UploadLink, video: Path, stopped: threading.Event) -> None:
        tried.append(link.url)
        put_video(link, video, stopped)

    def elsewhere(links: Links, key: str, *what: object) -> Link:
        link = sign(links, key, *what)  # type: ignore[arg-type]
        if not key.startswith("videos/"):
            return link
        # To S3, which finds that the path was changed, or to nobody.
        change = ("/videos/", "/elsewhere/") if there else (f":{s3.port}/", f":{nobody}/")
        return Link(link.url.replace(*change), link.headers)

    nobody = free_port()
    monkeypatch.setattr(Links, "sign", elsewhere)
    monkeypatch.setattr("farm.cluster.direct.put_video", put)
    bucket = s3.bucket()
    with farm(tmp_path / "data", bucket) as (gateway, caller):
        rendered(gateway, caller, tmp_path, count=3)
    assert sum(spooled) > 0
    assert len(videos(bucket)) == 3
    assert len(tried) == 1  # the others did not try


@pytest.mark.parametrize("again", [True, False])
def test_a_gateway_that_stops_while_a_video_is_uploaded_costs_no_attempt(
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spooled: list[int],
    again: bool,
) -> None:
    uploaded, go_on = threading.Event(), threading.Event()

    def held(link: pb.UploadLink, path: Path, stopped: threading.Event) -> None:
        put_video(link, path, stopped)
        uploaded.set()
        assert go_on.wait(20)

    monkeypatch.setattr("farm.cluster.direct.put_video", held)
    bucket = s3.bucket()
    with ExitStack() as workers:
        with farm(tmp_path / "data", bucket) as (gateway, caller):
            address = gateway.address
            job = caller.create(caller.shot())
            agent = workers.enter_context(running_worker(str(address), tmp_path))
            assert uploaded.wait(20)
        with farm(tmp_path / "data", bucket, direct_upload=again, address=address) as (_, caller):
            eventually(lambda: agent.connected)
            go_on.set()
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
            (shot,) = caller.shots(job.name)
            assert shot.attempt_count == 1
            assert hashlib.sha256(caller.download(shot.video.name)).hexdigest() == shot.video.sha256
    assert (sum(spooled) == 0) is again
    assert len(videos(bucket)) == 1


def test_it_needs_a_bucket(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigInvalid, match="--artifacts s3://BUCKET/PREFIX, or leave it out"),
        running_gateway(tmp_path, direct_upload=True),
    ):
        raise AssertionError


class OldHand:
    """A worker that does what the test has it do, and does not renew its leases."""

    def __init__(self, gateway: Gateway) -> None:
        self._requests: queue.SimpleQueue[pb.SessionRequest | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(str(gateway.address))
        about = Worker(name="workers/old-hand", hostname="h", pid=1)
        self.tell(hello=pb.Hello(worker=about))
        about.models.append(model_to_wire(TINY))
        self.tell(ready=pb.Ready(worker=about))
        self._call = pb_grpc.SessionServiceStub(self._channel).Session(
            iter(self._requests.get, None)
        )
        self._told: queue.SimpleQueue[pb.SessionResponse] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def tell(self, **message: object) -> None:
        self._requests.put(pb.SessionRequest(**message))  # type: ignore[arg-type]

    def told(self, kind: str) -> pb.SessionResponse:
        """The next message of this kind; drops others."""
        while True:
            message = self._told.get(timeout=20)
            if message.WhichOneof("message") == kind:
                return message

    def link(self, lease: pb.Lease, video: resources_pb2.Video) -> pb.UploadLink:
        self.tell(upload_request=pb.UploadRequest(lease=lease, video=video))
        return self.told("upload_link").upload_link

    def ends(self, lease: pb.Lease, video: resources_pb2.Video) -> bool:
        """Says that it uploaded this; whether that was accepted."""
        self.tell(done=pb.Done(lease=lease, video=video, uploaded=True))
        return self.told("settled").settled.accepted

    def leave(self) -> None:
        self._call.cancel()
        self._requests.put(None)
        self._reader.join()
        self._channel.close()

    def _read(self) -> None:
        with suppress(grpc.RpcError):
            for message in self._call:
                self._told.put(message)


@contextmanager
def old_hand(gateway: Gateway) -> Iterator[OldHand]:
    worker = OldHand(gateway)
    try:
        yield worker
    finally:
        worker.leave()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    small = RenderParams(width_px=64, height_px=64, frame_count=3, step_count=1)
    image = (IMAGES / "coffee.png").read_bytes()
    FakeRenderer().render(image, resolve(small, TINY, seed=1)).write(path)
    return path.read_bytes()


def claim(content: bytes) -> resources_pb2.Video:
    return resources_pb2.Video(
        media_type="video/mp4",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        frame_count=3,
        width_px=64,
        height_px=64,
    )


def put(link: pb.UploadLink, content: bytes) -> int:
    with urllib3.PoolManager() as pool:
        return pool.request("PUT", link.url, body=content, headers=dict(link.headers)).status


@pytest.mark.parametrize("reports", [True, False])
def test_a_late_upload_changes_nothing_and_is_collected(
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    reports: bool,
) -> None:
    bucket = s3.bucket()
    with (
        farm(tmp_path / "data", bucket, lease_s=1.0) as (gateway, caller),
        old_hand(gateway) as late,
    ):
        job = caller.create(caller.shot())
        lease = late.told("assign").assign.lease
        link = late.link(lease, claim(content))
        late.told("cancel")  # its lease ran out
        with running_worker(str(gateway.address), tmp_path):
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        (shot,) = caller.shots(job.name)
        assert shot.attempt_count == 2
        assert not late.link(lease, claim(content)).url  # no new one
        assert put(link, content) == 200
        assert len(videos(bucket)) == 2
        if reports:
            assert not late.ends(lease, claim(content))
            eventually(lambda: len(videos(bucket)) == 1)
        else:
            files = BucketBlobs.files

            def old(blobs: BucketBlobs) -> list[KeptFile]:
                long_ago = GRACE_S + 60
                return [
                    dataclasses.replace(f, modify_time_s=f.modify_time_s - long_ago)
                    for f in files(blobs)
                ]

            monkeypatch.setattr(BucketBlobs, "files", old)
            request = render_service_pb2.PruneJobsRequest()
            request.older_than.FromSeconds(3600)
            assert caller.render.PruneJobs(request).orphan_count == 1
        assert caller.shots(job.name)[0] == shot
        whole = caller.download(shot.video.name)
        assert hashlib.sha256(whole).hexdigest() == shot.video.sha256 != claim(content).sha256
        (kept,) = videos(bucket)
        assert asyncio.run(BucketBlobs(bucket).read_whole(kept)) == whole


def test_a_late_upload_for_a_job_that_was_deleted_is_collected(
    s3: S3Server, tmp_path: Path, content: bytes
) -> None:
    bucket = s3.bucket()
    with (
        farm(tmp_path / "data", bucket, lease_s=1.0) as (gateway, caller),
        old_hand(gateway) as late,
    ):
        job = caller.create(caller.shot())
        lease = late.told("assign").assign.lease
        link = late.link(lease, claim(content))
        late.told("cancel")  # its lease ran out
        with running_worker(str(gateway.address), tmp_path):
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        caller.render.DeleteJob(render_service_pb2.DeleteJobRequest(name=job.name))
        assert put(link, content) == 200
        assert len(videos(bucket)) == 1
        assert not late.ends(lease, claim(content))
        eventually(lambda: not videos(bucket))


def test_what_is_not_in_the_bucket_is_not_published(
    s3: S3Server, tmp_path: Path, content: bytes
) -> None:
    bucket = s3.bucket()
    torn = content[:-100]
    with (
        farm(tmp_path / "data", bucket) as (gateway, caller),
        old_hand(gateway) as worker,
    ):
        job = caller.create(caller.shot())
        lease = worker.told("assign").assign.lease
        worker.ends(lease, claim(content))  # nothing was put there

        lease = worker.told("assign").assign.lease
        assert put(worker.link(lease, claim(torn)), torn) == 200
        worker.ends(lease, claim(torn))

        lease = worker.told("assign").assign.lease
        key = f"videos/{lease.shot.split('/')[1]}/1-3-{claim(content).sha256[:16]}.mp4"
        asyncio.run(BucketBlobs(bucket).put(key, content[::-1]))
        assert put(worker.link(lease, claim(content)), content) == 412
        worker.ends(lease, claim(content))

        assert caller.watch(job.name)[-1].job.state == Job.FAILED
        (shot,) = caller.shots(job.name)
        assert (shot.error.reason, shot.attempt_count) == ("VIDEO_BROKEN", 3)
        assert "are in the bucket, the worker uploaded" in shot.error.message
        assert videos(bucket) == []


def test_a_video_that_came_over_an_earlier_session_is_read_back(
    s3: S3Server, tmp_path: Path, content: bytes
) -> None:
    bucket = s3.bucket()
    with (
        farm(tmp_path / "data", bucket) as (gateway, caller),
        old_hand(gateway) as worker,
    ):
        job = caller.create(caller.shot())
        lease = worker.told("assign").assign.lease
        key = f"videos/{lease.shot.split('/')[1]}/1-1-{claim(content).sha256[:16]}.mp4"
        asyncio.run(BucketBlobs(bucket).put(key, content))
        assert put(worker.link(lease, claim(content)), content) == 412
        assert worker.ends(lease, claim(content))
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        assert caller.download(caller.shots(job.name)[0].video.name) == content


@pytest.mark.parametrize("other", [{"sha256": "../" * 20 + "abcd"}, {"size_bytes": 2**40}])
def test_there_is_no_link_for_what_is_no_video(
    s3: S3Server, tmp_path: Path, content: bytes, other: dict[str, object]
) -> None:
    with (
        farm(tmp_path / "data", s3.bucket()) as (gateway, caller),
        old_hand(gateway) as worker,
    ):
        caller.create(caller.shot())
        lease = worker.told("assign").assign.lease
        video = claim(content)
        video.MergeFrom(resources_pb2.Video(**other))  # type: ignore[arg-type]
        assert not worker.link(lease, video).url
        assert worker.link(lease, claim(content)).url


def test_an_older_worker_sends_its_video_over_the_session(
    s3: S3Server, tmp_path: Path, content: bytes
) -> None:
    bucket = s3.bucket()
    with (
        farm(tmp_path / "data", bucket) as (gateway, caller),
        old_hand(gateway) as worker,
    ):
        job = caller.create(caller.shot())
        lease = worker.told("assign").assign.lease
        worker.tell(video_chunk=pb.VideoChunk(lease=lease, data=content))
        worker.tell(done=pb.Done(lease=lease, video=claim(content)))
        assert worker.told("settled").settled.accepted
        assert caller.download(caller.shots(job.name)[0].video.name) == content


def test_a_report_with_another_token_takes_no_published_video_away(
    s3: S3Server, tmp_path: Path, content: bytes
) -> None:
    bucket = s3.bucket()
    with (
        farm(tmp_path / "data", bucket) as (gateway, caller),
        old_hand(gateway) as worker,
    ):
        job = caller.create(caller.shot())
        lease = worker.told("assign").assign.lease
        assert put(worker.link(lease, claim(content)), content) == 200
        assert worker.ends(lease, claim(content))
        lease.token = "another"
        assert not worker.ends(lease, claim(content))
        assert caller.download(caller.shots(job.name)[0].video.name) == content
