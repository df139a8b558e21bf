"""The lease loop against a real gateway; the Ray around it is tested in tests/integration."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from farm.cluster.session import _OUTBOX_MESSAGES, Session
from farm.gateway.server import Gateway
from farm.jobs.params import RenderParams
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered
from svdfarm.target import Target
from svdfarm.v1 import resources_pb2
from svdfarm.v1 import session_service_pb2 as pb
from svdfarm.v1 import session_service_pb2_grpc as pb_grpc
from svdfarm.v1.render_service_pb2 import CancelJobRequest
from svdfarm.v1.resources_pb2 import Job, Shot, Worker
from tests.running import IMAGES, eventually, running_worker
from tests.unit.gateway.conftest import SMALL, Caller


@pytest.fixture
def caller(gateway: Gateway) -> Iterator[Caller]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield Caller(channel)


def test_a_worker_is_listed_with_what_it_serves(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    with running_worker(str(gateway.address), tmp_path) as agent:
        eventually(lambda: [w.state for w in caller.workers()] == [Worker.ACTIVE])
        (worker,) = caller.workers()
        assert worker.name == f"workers/{agent.id}"
        assert (worker.device, [m.name for m in worker.models]) == ("fake", ["tiny"])
        assert worker.pid > 0
    eventually(lambda: caller.workers() == [])


@pytest.mark.parametrize(
    ("error", "reason", "attempts"),
    [
        (MemoryError("no room"), "OUT_OF_MEMORY", 5),
        (ValueError("a bug"), "INTERNAL", 3),
    ],
)
def test_errors_become_reasons(
    gateway: Gateway,
    caller: Caller,
    tmp_path: Path,
    error: Exception,
    reason: str,
    attempts: int,
) -> None:
    class Broken(FakeRenderer):
        def render(self, image: bytes, params: RenderParams, *_: object, **__: object) -> Rendered:
            raise error

    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), tmp_path, renderer=Broken()):
        assert caller.watch(job.name)[-1].job.state == Job.FAILED
    (shot,) = caller.shots(job.name)
    assert (shot.error.reason, shot.attempt_count) == (reason, attempts)


def test_a_broken_device_takes_no_other_shot(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    class Broken(FakeRenderer):
        def render(self, image: bytes, params: RenderParams, *_: object, **__: object) -> Rendered:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    job = caller.create(*(caller.shot(f"s{n}") for n in range(5)))
    with running_worker(str(gateway.address), tmp_path, renderer=Broken()):
        eventually(lambda: [w.state for w in caller.workers()] == [Worker.DRAINING])
        with running_worker(str(gateway.address), tmp_path):
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    assert [shot.attempt_count for shot in caller.shots(job.name)] == [2, 1, 1, 1, 1]


def test_a_worker_whose_device_does_not_let_go_is_to_be_replaced(
    gateway: Gateway, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Hanging(FakeRenderer):
        def render(self, image: bytes, params: RenderParams, *_: object, **__: object) -> Rendered:
            begun.set()
            assert go_on.wait(30)
            return super().render(image, params)

    monkeypatch.setattr("farm.cluster.agent._LET_GO_S", 0.1)
    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), tmp_path, renderer=Hanging()) as worker:
        assert begun.wait(20)
        threading.Event().wait(0.3)
        assert worker.alive
        caller.render.CancelJob(CancelJobRequest(name=job.name))
        eventually(lambda: not worker.alive)
        go_on.set()
        eventually(lambda: worker.alive)


def test_heartbeats_overtake_a_video_that_nobody_takes() -> None:
    heartbeats = threading.Event()
    go_on = threading.Event()

    class Slow(pb_grpc.SessionServiceServicer):
        def Session(  # noqa: N802 - the proto's name
            self, requests: Iterator[pb.SessionRequest], context: grpc.ServicerContext
        ) -> Iterator[pb.SessionResponse]:
            yield pb.SessionResponse(welcome=pb.Welcome())
            go_on.wait(20)
            for request in requests:
                if request.WhichOneof("message") == "heartbeat":
                    heartbeats.set()

    server = grpc.server(futures.ThreadPoolExecutor(4))
    pb_grpc.add_SessionServiceServicer_to_server(Slow(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    session = Session(Target.read(f"127.0.0.1:{port}"), None)
    try:
        responses = iter(session)
        next(responses)
        chunk = pb.SessionRequest(video_chunk=pb.VideoChunk(data=bytes(2**18)))
        sender = threading.Thread(target=lambda: [session.send(chunk) for _ in range(100)])
        sender.start()
        eventually(lambda: len(session._outbox) == _OUTBOX_MESSAGES)
        session.send_first(pb.SessionRequest(heartbeat=pb.Heartbeat()))
        go_on.set()
        assert heartbeats.wait(20)
        sender.join(20)
    finally:
        session.close()
        server.stop(None).wait()


class Gateways(pb_grpc.SessionServiceServicer):
    """A gateway that breaks the first session in the middle of a video, and keeps the second."""

    def __init__(self) -> None:
        self.hellos: list[pb.Hello] = []
        self.video = bytearray()
        self.done: pb.Done | None = None

    def Session(  # noqa: N802 - the proto's name
        self, requests: Iterator[pb.SessionRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.SessionResponse]:
        self.hellos.append(next(requests).hello)
        welcome = pb.Welcome()
        welcome.heartbeat_interval.FromMilliseconds(100)
        yield pb.SessionResponse(welcome=welcome)
        lease = pb.Lease(shot="jobs/a/shots/1", attempt=1, token="t")
        for request in requests:
            match request.WhichOneof("message"):
                case "ready" if len(self.hellos) == 1:
                    image = (IMAGES / "rocket.jpg").read_bytes()
                    params = resources_pb2.RenderParams()
                    params.CopyFrom(SMALL)
                    params.MergeFrom(
                        resources_pb2.RenderParams(
                            fps=7,
                            playback_fps=7,
                            motion_bucket_id=127,
                            noise_aug_strength=0.02,
                            min_guidance_scale=1,
                            max_guidance_scale=3,
                            fit=resources_pb2.RenderParams.CROP,
                            encoding=resources_pb2.Encoding(codec="h264", crf=17),
                        )
                    )
                    yield pb.SessionResponse(
                        assign=pb.Assign(lease=lease, params=params, image=image)
                    )
                case "video_chunk" if len(self.hellos) == 1:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "on purpose")
                case "video_chunk":
                    assert request.video_chunk.offset_bytes == len(self.video)
                    self.video += request.video_chunk.data
                case "done":
                    self.done = request.done
                    settled = pb.Settled(lease=lease, accepted=True)
                    yield pb.SessionResponse(settled=settled)


def test_a_report_cut_off_is_sent_whole_in_the_next_session(tmp_path: Path) -> None:
    gateways = Gateways()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    pb_grpc.add_SessionServiceServicer_to_server(gateways, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with running_worker(f"127.0.0.1:{port}", tmp_path):
            eventually(lambda: gateways.done is not None)
            eventually(lambda: list(tmp_path.glob("svdfarm-worker-*/*")) == [])
    finally:
        server.stop(None).wait()
    assert [len(hello.leases) for hello in gateways.hellos] == [0, 1]
    assert gateways.done is not None
    assert len(gateways.video) == gateways.done.video.size_bytes > 0


def test_progress_is_told_while_the_renderer_is_busy(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot(step_count=30))
    with running_worker(str(gateway.address), tmp_path, step_s=0.05):
        eventually(lambda: caller.shots(job.name)[0].progress.step > 2)
        (shot,) = caller.shots(job.name)
        assert (shot.state, shot.progress.step_count) == (Shot.RENDERING, 30)
        assert caller.workers()[0].shot == shot.name
