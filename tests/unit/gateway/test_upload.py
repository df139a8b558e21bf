"""What the gateway makes of the videos that workers send: published whole, or not at all."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from farm.gateway.server import Gateway
from farm.gateway.upload import Upload, UploadRefused
from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.fake import FakeRenderer
from farm.wire import model_to_wire
from svdfarm.v1 import session_service_pb2 as pb
from svdfarm.v1 import session_service_pb2_grpc as pb_grpc
from svdfarm.v1.resources_pb2 import Job, Shot, Video, Worker
from tests.running import IMAGES, eventually
from tests.unit.gateway.conftest import Caller

Tell = Callable[[pb.SessionRequest], None]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    small = RenderParams(width_px=64, height_px=64, frame_count=3, step_count=1)
    image = (IMAGES / "rocket.jpg").read_bytes()
    FakeRenderer().render(image, resolve(small, TINY, seed=1)).write(path)
    return path.read_bytes()


@pytest.fixture(params=["in memory", "on disk"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a video is while it comes in."""
    if request.param == "on disk":
        monkeypatch.setattr("farm.gateway.upload.MEMORY_BYTES", 0)


@contextmanager
def answering_worker(
    gateway: Gateway,
    answer: Callable[[pb.Assign, Tell], None],
    unsettled: Sequence[pb.Assign] = (),
) -> Iterator[list[pb.Settled]]:
    """A worker that says of each shot what the test has it say, and is told what became of it.

    Those that are `unsettled` it brings from an earlier session.
    """
    requests: queue.SimpleQueue[pb.SessionRequest | None] = queue.SimpleQueue()
    about = Worker(name="workers/answering", hostname="h", pid=1)
    brought = [assign.lease for assign in unsettled]
    requests.put(pb.SessionRequest(hello=pb.Hello(worker=about, leases=brought)))
    about.models.append(model_to_wire(TINY))
    requests.put(pb.SessionRequest(ready=pb.Ready(worker=about)))
    for assign in unsettled:
        answer(assign, requests.put)
    settled: list[pb.Settled] = []
    with grpc.insecure_channel(str(gateway.address)) as channel:
        call = pb_grpc.SessionServiceStub(channel).Session(iter(requests.get, None))

        def read() -> None:
            with suppress(grpc.RpcError):
                for response in call:
                    if response.WhichOneof("message") == "assign":
                        answer(response.assign, requests.put)
                    elif response.WhichOneof("message") == "settled":
                        settled.append(response.settled)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield settled
        finally:
            call.cancel()
            requests.put(None)
            reader.join()


def send(video: bytes, claims: Video) -> Callable[[pb.Assign, Tell], None]:
    """Sends these bytes, and claims this of them."""

    def answer(assign: pb.Assign, tell: Tell) -> None:
        chunk = pb.VideoChunk(lease=assign.lease, data=video)
        tell(pb.SessionRequest(video_chunk=chunk))
        tell(pb.SessionRequest(done=pb.Done(lease=assign.lease, video=claims)))

    return answer


def claim(video: bytes, **other: object) -> Video:
    """What an honest worker says of a video, but for `other`."""
    told = Video(
        media_type="video/mp4",
        size_bytes=len(video),
        sha256=hashlib.sha256(video).hexdigest(),
        frame_count=3,
        width_px=64,
        height_px=64,
    )
    told.MergeFrom(Video(**other))  # type: ignore[arg-type]
    return told


@pytest.mark.usefixtures("kept")
def test_a_whole_video_is_published(gateway: Gateway, caller: Caller, video: bytes) -> None:
    job = caller.create(caller.shot())
    with answering_worker(gateway, send(video, claim(video))) as settled:
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    (shot,) = caller.shots(job.name)
    told = shot.video
    assert (told.frame_count, told.width_px, told.height_px) == (3, 64, 64)
    assert caller.download(shot.video.name) == video
    assert [report.accepted for report in settled] == [True]


def test_a_success_whose_settled_was_lost_is_told_again(
    gateway: Gateway, caller: Caller, video: bytes
) -> None:
    job = caller.create(caller.shot())
    taken: list[pb.Assign] = []

    def answer(assign: pb.Assign, tell: Tell) -> None:
        taken.append(assign)
        send(video, claim(video))(assign, tell)

    with answering_worker(gateway, answer):
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    with answering_worker(gateway, send(video, claim(video)), taken) as settled:
        eventually(lambda: settled)
        assert [report.accepted for report in settled] == [True]
        after = caller.create(caller.shot())  # its slot is free
        assert caller.watch(after.name)[-1].job.state == Job.SUCCEEDED
        assert [w.refused_report_count for w in caller.workers()] == [0]
    (shot,) = caller.shots(job.name)
    assert shot.attempt_count == 1
    assert caller.download(shot.video.name) == video


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("sent", "other", "told"),
    [
        (slice(None, -100), {}, "torn"),  # the hash is that of the torn file
        (slice(0), {}, "not a whole MP4"),
        (slice(None), {"media_type": "video/quicktime"}, "h264 in video/mp4 was asked for"),
        (slice(None), {"media_type": "video/matroska"}, "torn"),
        (slice(None), {"media_type": "text/html"}, "'text/html' is none of video/mp4,"),
        (slice(None), {"frame_count": 2}, "2 frames of 64x64; 3 of 64x64 were asked for"),
        (slice(None), {"height_px": 72}, "3 frames of 64x72; 3 of 64x64 were asked for"),
        (slice(None), {"sha256": "0" * 64}, "with SHA-256"),
        (slice(None), {"size_bytes": 7}, "the worker sent 7 with"),
    ],
)
def test_a_broken_video_is_never_published(
    gateway: Gateway,
    caller: Caller,
    tmp_path: Path,
    video: bytes,
    sent: slice,
    other: dict[str, object],
    told: str,
) -> None:
    part = video[sent]
    job = caller.create(caller.shot())
    with answering_worker(gateway, send(part, claim(part, **other))):
        assert caller.watch(job.name)[-1].job.state == Job.FAILED
    (shot,) = caller.shots(job.name)
    assert shot.state == Shot.FAILED
    assert (shot.error.reason, shot.attempt_count) == ("VIDEO_BROKEN", 3)
    assert told in shot.error.message
    assert not shot.HasField("video")
    assert list((tmp_path / "data" / "blobs").glob("videos/**/*.*")) == []
    assert list((tmp_path / "data" / "spool").glob("*/*.part")) == []


def test_an_upload_that_starts_over_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.upload.MEMORY_BYTES", 4)
    upload = Upload(tmp_path)
    upload.write(0, b"first half")
    upload.write(0, b"whole")
    assert len(list(tmp_path.iterdir())) == 1
    assert upload.close() == hashlib.sha256(b"whole").hexdigest()
    content = upload.content
    assert isinstance(content, Path)
    assert content.read_bytes() == b"whole"
    upload.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_video_without_an_end_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.upload.MEMORY_BYTES", 4)
    monkeypatch.setattr("farm.gateway.upload.LIMIT_BYTES", 20)
    upload = Upload(tmp_path)
    upload.write(0, b"0123456789")
    upload.write(10, b"0123456789")
    assert len(list(tmp_path.iterdir())) == 1
    upload.write(20, b"0")
    upload.write(21, b"0123456789")
    assert list(tmp_path.iterdir()) == []
    assert isinstance(upload.trouble, UploadRefused)
    assert "more than the 20 bytes" in str(upload.trouble)
