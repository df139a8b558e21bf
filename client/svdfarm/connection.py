"""The channel to a farm: deadlines, the token, and patience with a farm that is away."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc

from svdfarm.errors import DeadlineExceeded, Rejected, SvdfarmError, Unreachable
from svdfarm.translate import translate
from svdfarm.v1.render_service_pb2_grpc import RenderServiceStub
from svdfarm.v1.worker_service_pb2_grpc import WorkerServiceStub

CALL_TIMEOUT_LIMIT_S = 120.0
_RETRY_FIRST_S = 0.1
_RETRY_LONGEST_S = 1.0
_OPTIONS = [
    ("grpc.max_receive_message_length", 20 * 2**20),
    ("grpc.max_send_message_length", 20 * 2**20),
    # A farm that comes back is noticed within a second, not within gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A peer that vanished without a word is noticed in a minute or so.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Retries are made here, where they end; gRPC's own would come on top.
    ("grpc.enable_retries", 0),
]

# Called once when waiting for a farm that is away begins: why, and for how long at most.
OnWaiting = Callable[[str, float], None]

Request = TypeVar("Request")
Response = TypeVar("Response")
Answer = TypeVar("Answer")


class Connection:
    """A channel with its stubs. Every unary call has a deadline; only UNAVAILABLE is retried."""

    def __init__(
        self,
        address: str,
        token: str | None,
        *,
        connect_timeout_s: float,
        call_timeout_s: float,
        on_waiting: OnWaiting | None = None,
    ) -> None:
        """Connects lazily: an address where nobody listens fails at the first call."""
        _check(address, token)
        if not 0 < call_timeout_s <= CALL_TIMEOUT_LIMIT_S:
            raise Rejected(
                f"call_timeout_s is {call_timeout_s:g}; allowed: up to {CALL_TIMEOUT_LIMIT_S:g}"
            )
        self.address = address
        self.connect_timeout_s = connect_timeout_s
        self._call_timeout_s = call_timeout_s
        self._on_waiting = on_waiting
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        # A proxy from the environment is for other machines.
        proxy = 0 if address.startswith(("127.", "localhost:", "[::1]:", "unix:")) else 1
        self._channel = grpc.insecure_channel(
            address, options=[*_OPTIONS, ("grpc.enable_http_proxy", proxy)]
        )
        self.render = RenderServiceStub(self._channel)
        self.workers = WorkerServiceStub(self._channel)

    def close(self) -> None:
        """Ends the channel and every stream on it."""
        self._channel.close()

    def call(
        self, method: grpc.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """The answer to `request`. Raises an error of this package."""
        return self.retry(
            lambda: method(request, timeout=self._call_timeout_s, metadata=self._metadata)
        )

    def send(
        self,
        method: grpc.StreamUnaryMultiCallable[Request, Response],
        requests: Callable[[], Iterator[Request]],
    ) -> Response:
        """The answer to a stream of requests, which `requests` makes anew for every try."""
        return self.retry(
            lambda: method(requests(), timeout=CALL_TIMEOUT_LIMIT_S, metadata=self._metadata)
        )

    @contextmanager
    def stream(
        self,
        method: grpc.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        timeout_s: float | None = None,
    ) -> Iterator[Iterator[Response]]:
        """The responses, raising grpc.RpcError; cancelled on the way out, whatever happened.

        An abandoned stream would stay open at both ends (grpc#43462).
        """
        call = method(request, timeout=timeout_s, metadata=self._metadata)
        try:
            yield call
        finally:
            call.cancel()

    def retry(self, attempt: Callable[[], Answer]) -> Answer:
        """What `attempt` returns, tried again while the farm is away."""
        patience = self.patience()
        while True:
            try:
                return attempt()
            except grpc.RpcError as error:
                patience.bear(error)

    def patience(self, deadline: float | None = None) -> Patience:
        """A fresh measure of how long the farm may be away."""
        return Patience(self.address, self.connect_timeout_s, deadline, self._on_waiting)


class Patience:
    """Bears UNAVAILABLE for `limit_s` after the last good answer, and no other error."""

    def __init__(
        self,
        address: str,
        limit_s: float,
        deadline: float | None = None,
        on_waiting: OnWaiting | None = None,
    ) -> None:
        self._address = address
        self._limit_s = limit_s
        self._deadline = deadline  # of the monotonic clock
        self._on_waiting = on_waiting
        self._pause_s = _RETRY_FIRST_S
        self._since: float | None = None

    def renew(self) -> None:
        """The farm answered."""
        self._pause_s, self._since = _RETRY_FIRST_S, None

    def bear(self, error: grpc.RpcError) -> None:
        """Waits a moment, or raises `error` as one of this package where waiting is over."""
        told = translate(error, self._address)
        if not isinstance(told, Unreachable):
            raise told from error
        try:
            self.pause(told)
        except SvdfarmError as over:
            raise over from error

    def pause(self, reason: SvdfarmError) -> None:
        """Waits a moment, each time longer, or raises `reason` where waiting is over."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            if self._on_waiting is not None and self._limit_s > 0:
                self._on_waiting(str(reason), self._limit_s)
        left_s = self._since + self._limit_s - now
        if left_s <= 0:
            raise reason
        if self._deadline is not None:
            if now >= self._deadline:
                raise DeadlineExceeded(f"time is up, and {reason}")
            left_s = min(left_s, self._deadline - now)
        time.sleep(min(left_s, self._pause_s * random.uniform(0.5, 1)))  # noqa: S311
        self._pause_s = min(self._pause_s * 2, _RETRY_LONGEST_S)


def _check(address: str, token: str | None) -> None:
    host, colon, port = address.rpartition(":")
    numbered = bool(colon and host and port.isdecimal() and 0 < int(port[:6]) < 65536)
    if "/" in host or not (numbered or address.startswith("unix:")):
        raise Rejected(f"address is {address!r}; allowed: HOST:PORT, such as 127.0.0.1:50051")
    if token is not None and not (token.isascii() and token.isprintable()):
        raise Rejected("the token holds characters that no token has: was it copied whole?")
