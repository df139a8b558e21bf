"""A server that breaks off, lies or falls silent, as a script says."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from svdfarm import Client, Video
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1.render_service_pb2_grpc import (
    RenderServiceServicer,
    add_RenderServiceServicer_to_server,
)

DATA = bytes(range(256)) * 1000
NAME = "jobs/j/shots/s/video"
VIDEO = Video(NAME, "video/mp4", len(DATA), hashlib.sha256(DATA).hexdigest(), frame_count=1)
CHUNK = 100_000

Answer = Callable[[Any, grpc.ServicerContext], Any]


class Scripted(RenderServiceServicer):
    """Answers each call of a method with the next of its scripts, the last one for ever."""

    def __init__(self, **scripts: list[Answer]) -> None:
        self._scripts = scripts
        self.requests: list[Any] = []
        self.cancelled = threading.Event()

    def _play(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        context.add_callback(self.cancelled.set)
        scripts = self._scripts[method]
        return (scripts.pop(0) if len(scripts) > 1 else scripts[0])(request, context)

    def GetImage(self, request: rpc.GetImageRequest, context: Any) -> Any:  # noqa: N802
        return self._play("GetImage", request, context)

    def GetJob(self, request: rpc.GetJobRequest, context: Any) -> Any:  # noqa: N802
        return self._play("GetJob", request, context)

    def WatchJob(self, request: rpc.WatchJobRequest, context: Any) -> Any:  # noqa: N802
        yield from self._play("WatchJob", request, context)

    def DownloadVideo(self, request: rpc.DownloadVideoRequest, context: Any) -> Any:  # noqa: N802
        yield from self._play("DownloadVideo", request, context)


@contextmanager
def serving(servicer: Scripted) -> Iterator[str]:
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool)
    add_RenderServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
        pool.shutdown()


@contextmanager
def client_of(servicer: Scripted, **settings: float) -> Iterator[Client]:
    with (
        serving(servicer) as address,
        Client(address, **{"connect_timeout_s": 5.0, **settings}) as client,  # type: ignore[arg-type]
    ):
        yield client


def abort(code: grpc.StatusCode) -> Answer:
    def answer(_: Any, context: grpc.ServicerContext) -> Any:
        context.abort(code, "as the script says")

    return answer


def send(data: bytes, *, then: grpc.StatusCode | None = None) -> Answer:
    """Streams `data` from the offset asked for, then ends, or breaks off with a code."""

    def answer(
        request: rpc.DownloadVideoRequest, context: grpc.ServicerContext
    ) -> Iterator[rpc.DownloadVideoResponse]:
        for start in range(request.offset_bytes, len(data), CHUNK):
            yield rpc.DownloadVideoResponse(data=data[start : start + CHUNK])
        if then is not None:
            context.abort(then, "as the script says")

    return answer


def job(state: int, token: str) -> rpc.WatchJobResponse:
    return rpc.WatchJobResponse(
        job=pb.Job(name="jobs/j", state=state),  # type: ignore[arg-type]
        resume_token=token,
    )


def tell(*events: rpc.WatchJobResponse, then: grpc.StatusCode | None = None) -> Answer:
    def answer(_: Any, context: grpc.ServicerContext) -> Iterator[rpc.WatchJobResponse]:
        yield from events
        if then is not None:
            context.abort(then, "as the script says")

    return answer
