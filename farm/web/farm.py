"""The way from HTTP to the farm: its own gRPC, called as whoever asked over HTTP.

What one request takes is one request of its tenant's quota, however many calls it is, and so is a
page that stays open: its first call counts, the others say that they are further ones.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
import grpc.aio

from farm.web.limits import Slots
from svdfarm import tracing
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc, resources_pb2, worker_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Watch = grpc.aio.UnaryStreamCall[pb.WatchJobRequest, pb.WatchJobResponse]

FURTHER_CALL = "svdfarm-further-call"  # metadata, which only the web side's own server believes
CALL_LIMIT_S = 60.0
CHUNK_BYTES = 256 * 2**10
_MESSAGE_BYTES = 20 * 2**20
_SENT_AT_ONCE = 100  # each that nobody reads holds some 2 MiB in the buffers on its way

Q = TypeVar("Q")
A = TypeVar("A")


class Farm:
    """The gateway's services over `target`, an address that only this process reaches.

    A connection carries 100 calls at a time. What may last has others than what is answered at
    once: whoever leaves downloads unread keeps nobody from a page.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._sent = Slots(_SENT_AT_ONCE)

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
        return Calls(self._channels, self._sent, token)

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

    def __init__(self, channels: Channels, sent: Slots, token: str | None) -> None:
        self._sent = sent
        self.token = token
        self._called = False
        self.render = _render(channels.asking)
        self._watching = _render(channels.watching)
        self._sending = _render(channels.sending)
        self.worker = cast(
            "worker_service_pb2_grpc.WorkerServiceAsyncStub",
            worker_service_pb2_grpc.WorkerServiceStub(cast(Any, channels.asking)),
        )

    def watch(self, request: pb.WatchJobRequest) -> Watch:
        """What changes in a job, until it has ended. Whoever reads it cancels it."""
        return self._watching.WatchJob(request, metadata=self._metadata())

    def _metadata(self) -> tracing.Metadata:
        told = list(tracing.headers())
        if self.token:
            told.append(("authorization", f"Bearer {self.token}"))
        if self._called:
            told.append((FURTHER_CALL, "1"))
        self._called = True
        return tuple(told)

    async def ask(self, method: Callable[..., Awaitable[A]], request: object) -> A:
        """The answer of a method with one. Raises grpc.aio.AioRpcError."""
        return await method(request, metadata=self._metadata(), timeout=CALL_LIMIT_S)

    async def check(self) -> None:
        """Raises AioRpcError for who may not list jobs: such as nobody's token."""
        await self.ask(self.render.ListJobs, pb.ListJobsRequest(page_size=1))

    async def upload(self, parts: AsyncIterator[bytes]) -> resources_pb2.Image:
        """Stores an image."""
        requests = (pb.UploadImageRequest(data=part) async for part in parts)
        return await self.render.UploadImage(
            cast(Any, requests), metadata=self._metadata(), timeout=CALL_LIMIT_S
        )

    async def download(self, video: str, first: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes of a video from `first` on and before `end`. Raises Refused, 503."""
        async with self._sent.take():
            request = pb.DownloadVideoRequest(name=video, offset_bytes=first)
            call = self._sending.DownloadVideo(request, metadata=self._metadata())
            left = end - first
            try:
                async for part in call:
                    yield part.data[:left]
                    left -= len(part.data)
                    if left <= 0:
                        break
            finally:
                call.cancel()

    async def thumbnail(self, image: str, side_px: int) -> bytes:
        """An image as a JPEG that is no wider and no higher."""
        request = pb.GetImageRequest(name=image, thumbnail_px=side_px)
        return (await self.ask(self.render.GetImage, request)).thumbnail

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
