"""One session with the gateway: a two-way stream that a worker opened."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import grpc

from svdfarm import handshake
from svdfarm.errors import Rejected
from svdfarm.target import Target
from svdfarm.v1 import session_service_pb2 as pb
from svdfarm.v1 import session_service_pb2_grpc as pb_grpc

CHUNK_BYTES = 256 * 1024
_OUTBOX_MESSAGES = 16  # at most 4 MiB of video wait for a slow network
_MESSAGE_LIMIT_BYTES = 20 * 2**20  # an image of 16 MiB and what is around it

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Each session has a channel of its own, and a new one must not wait for an old one's back-off.
    ("grpc.use_local_subchannel_pool", 1),
]


class SessionBroken(Exception):
    """The session has ended; the worker dials again."""


def why_broken(error: grpc.RpcError | SessionBroken, target: Target) -> str:
    """Why a session has ended, as far as can be told; may take some seconds."""
    if isinstance(error, SessionBroken):
        return str(error)
    if error.code() is grpc.StatusCode.UNAVAILABLE and (problem := handshake.problem(target)):
        return problem
    return error.details() or error.code().name


class Session:
    """Sends from any thread, receives in the one that iterates."""

    def __init__(self, target: Target, token: str | None) -> None:
        """Raises SessionBroken where the files of its TLS cannot be used."""
        try:
            self._channel = target.channel(_CHANNEL_OPTIONS)
        except Rejected as error:
            raise SessionBroken(str(error)) from error
        self._changed = threading.Condition()  # of everything below
        self._urgent: deque[pb.SessionRequest] = deque()
        self._outbox: deque[pb.SessionRequest] = deque()
        self._ended = False
        self.links_videos = False  # whether the gateway answers UploadRequest
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        stub = pb_grpc.SessionServiceStub(self._channel)
        self._call = stub.Session(self._requests(), metadata=metadata)

    def __iter__(self) -> Iterator[pb.SessionResponse]:
        """What the gateway sends, until the session ends. Raises grpc.RpcError when it breaks."""
        try:
            yield from self._call
        finally:
            self._end()

    def send(self, request: pb.SessionRequest) -> None:
        """Queues a message; waits while the queue is full. Raises SessionBroken."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._outbox) < _OUTBOX_MESSAGES)
            if self._ended:
                raise SessionBroken
            self._outbox.append(request)
            self._changed.notify_all()

    def send_first(self, request: pb.SessionRequest) -> None:
        """Queues a message ahead of a video that is on its way: a heartbeat cannot wait."""
        with self._changed:
            self._urgent.append(request)
            self._changed.notify_all()

    def offer(self, request: pb.SessionRequest) -> None:
        """Queues a message that may be lost: progress is worth no waiting."""
        with self._changed:
            if len(self._outbox) < _OUTBOX_MESSAGES:
                self._outbox.append(request)
                self._changed.notify_all()

    def send_video(self, lease: pb.Lease, path: Path) -> None:
        """Queues a whole file in chunks. Raises SessionBroken."""
        offset_bytes = 0
        with path.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                chunk = pb.VideoChunk(lease=lease, offset_bytes=offset_bytes, data=data)
                self.send(pb.SessionRequest(video_chunk=chunk))
                offset_bytes += len(data)

    def close(self) -> None:
        """Ends the session, once what is queued was sent or a second has passed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or not (self._urgent or self._outbox), timeout=1
            )
        self._end()
        self._call.cancel()
        self._channel.close()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _requests(self) -> Iterator[pb.SessionRequest]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._urgent or self._outbox)
                if self._ended:
                    return
                request = (self._urgent or self._outbox).popleft()
                self._changed.notify_all()
            yield request
