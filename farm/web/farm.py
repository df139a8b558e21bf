"""The way from HTTP to the farm: its own gRPC, called as whoever asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
import grpc.aio

from svdfarm import tracing
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc, resources_pb2, worker_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Watch = grpc.aio.UnaryStreamCall[pb.WatchJobRequest, pb.WatchJobResponse]

CALL_LIMIT_S = 60.0
CHUNK_BYTES = 256 * 2**10
_MESSAGE_BYTES = 20 * 2**20

Q = TypeVar("Q")
A = TypeVar("A")


class Farm:
    """The gateway's services over `target`, an address that only this process reaches.

    A connection carries 100 calls at a time. What may last has others than what is answered at
    once: whoever leaves downloads unread keeps nobody from a page.
    """

    def __init__(self, target: str) -> None:
        self._target = target

    @cached_property
    def _channels(self) -> Channels:  # belong to the event loop of their first call
        return Channels(*(self._connect() for _ in fields(Channels)))

    def _connect(self) -> grpc.aio.Channel:
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
        ]
        return grpc.aio.insecure_channel(self._target, options=options)

    def calls(self, token: str | None) -> Calls:
        """What the owner of `token` can ask."""
        return Calls(self._channels, token)

    async def close(self) -> None:
        """Ends every call."""
        for field in fields(Channels):
            await getattr(self._channels, field.name).close()


@dataclass(frozen=True)
class Channels:
    """Connections, by how long their calls last."""

    asking: grpc.aio.Channel
    watching: grpc.aio.Channel
    sending: grpc.aio.Channel


class Calls:
    """The services, with one caller's token."""

    def __init__(self, channels: Channels, token: str | None) -> None:
        self._token = token
        self.render = _render(channels.asking)
        self._watching = _render(channels.watching)
        self._sending = _render(channels.sending)
        self.worker = cast(
            "worker_service_pb2_grpc.WorkerServiceAsyncStub",
            worker_service_pb2_grpc.WorkerServiceStub(cast(Any, channels.asking)),
        )

    @property
    def metadata(self) -> tracing.Metadata:
        """What a call carries, by the request that it is made for."""
        authorization = (("authorization", f"Bearer {self._token}"),) if self._token else ()
        return (*authorization, *tracing.headers())

    def watch(self, request: pb.WatchJobRequest) -> Watch:
        """What changes in a job, until it has ended. Whoever reads it cancels it."""
        return self._watching.WatchJob(request, metadata=self.metadata)

    async def ask(self, method: Callable[..., Awaitable[A]], request: object) -> A:
        """The answer of a method with one. Raises grpc.aio.AioRpcError."""
        return await method(request, metadata=self.metadata, timeout=CALL_LIMIT_S)

    async def check(self) -> None:
        """Raises AioRpcError for who may not list jobs: such as nobody's token."""
        await self.ask(self.render.ListJobs, pb.ListJobsRequest(page_size=1))

    async def upload(self, parts: AsyncIterator[bytes]) -> resources_pb2.Image:
        """Stores an image."""
        requests = (pb.UploadImageRequest(data=part) async for part in parts)
        return await self.render.UploadImage(
            cast(Any, requests), metadata=self.metadata, timeout=CALL_LIMIT_S
        )

    async def download(self, video: str, first: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes of a video from `first` on and before `end`."""
        request = pb.DownloadVideoRequest(name=video, offset_bytes=first)
        call = self._sending.DownloadVideo(request, metadata=self.metadata)
        left = end - first
        try:
            async for part in call:
                yield part.data[:left]
                left -= len(part.data)
                if left <= 0:
                    break
        finally:
            call.cancel()

    async def image(self, name: str) -> AsyncGenerator[bytes]:
        """An image file as it was uploaded, piece by piece."""
        request = pb.DownloadImageRequest(name=name)
        call = self._sending.DownloadImage(request, metadata=self.metadata)
        try:
            async for part in call:
                yield part.data
        finally:
            call.cancel()

    async def first_shots(self, jobs: list[resources_pb2.Job]) -> list[resources_pb2.Shot]:
        """The first shot of each job; none for a job that was deleted in between."""
        found = []
        for job in jobs:
            request = pb.ListShotsRequest(parent=job.name, page_size=1)
            try:
                page = await self.ask(self.render.ListShots, request)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                continue
            found.append(page.shots[0])
        return found


def _render(channel: grpc.aio.Channel) -> render_service_pb2_grpc.RenderServiceAsyncStub:
    # The stubs are typed for a channel that blocks.
    return cast(
        "render_service_pb2_grpc.RenderServiceAsyncStub",
        render_service_pb2_grpc.RenderServiceStub(cast(Any, channel)),
    )
