"""The way to a farm: a channel with its stubs, deadlines, the token, and patience.

What this package asks of a farm is written once, as coroutines over a Connection: a
BlockingConnection never lets them suspend, an AsyncConnection has them wait on an event loop.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import grpc
import grpc.aio

from svdfarm import handshake, tracing
from svdfarm.errors import Rejected
from svdfarm.patience import OnWaiting, Patience
from svdfarm.streams import Streams, Watch
from svdfarm.target import Target
from svdfarm.tls import Tls
from svdfarm.v1.render_service_pb2_grpc import RenderServiceStub
from svdfarm.v1.tenant_service_pb2_grpc import TenantServiceStub
from svdfarm.v1.token_service_pb2_grpc import TokenServiceStub
from svdfarm.v1.worker_service_pb2_grpc import WorkerServiceStub

CALL_TIMEOUT_LIMIT_S = 120.0
AT_ONCE = 8  # uploads
_LOOK_AGAIN_S = 0.05
_OPTIONS = (
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
)

_TOKEN = re.compile(r"[!-~]*")

T = TypeVar("T")
Item = TypeVar("Item")
Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True)
class Settings:
    """Which farm, and how long to wait for it. Raises Rejected."""

    address: str
    token: str | None
    connect_timeout_s: float
    call_timeout_s: float
    on_waiting: OnWaiting | None
    tls: Tls | None = None
    plaintext: bool = False  # whether the token may be sent without TLS over a network

    def __post_init__(self) -> None:
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise Rejected("the token holds characters that no token has: was it copied whole?")
        if not 0 < self.call_timeout_s <= CALL_TIMEOUT_LIMIT_S:
            allowed = f"up to {CALL_TIMEOUT_LIMIT_S:g}"
            raise Rejected(f"call_timeout_s is {self.call_timeout_s:g}; allowed: {allowed}")
        assert self.target  # which is checked by being read

    @cached_property
    def target(self) -> Target:
        """The address, read."""
        return Target.read(self.address, self.token, self.tls, plaintext=self.plaintext)

    def channel_options(self) -> list[tuple[str, int]]:
        """What gRPC is to know."""
        # A proxy from the environment is for other machines.
        return [*_OPTIONS, ("grpc.enable_http_proxy", 0 if self.target.is_local else 1)]


class Connection(ABC):
    """Every unary call has a deadline; retried are UNAVAILABLE and quotas that free themselves.

    Connects lazily: an address where nobody listens fails at the first call.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        token = settings.token
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.streams = Streams()

    @cached_property
    def render(self) -> RenderServiceStub:
        """The methods for users."""
        return RenderServiceStub(self.channel)

    @cached_property
    def workers(self) -> WorkerServiceStub:
        """The methods for operators."""
        return WorkerServiceStub(self.channel)

    @cached_property
    def tokens(self) -> TokenServiceStub:
        """The methods for who may call."""
        return TokenServiceStub(self.channel)

    @cached_property
    def tenants(self) -> TenantServiceStub:
        """The methods for whose what is."""
        return TenantServiceStub(self.channel)

    async def call(
        self, method: grpc.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """The answer to `request`. Raises an error of this package."""
        timeout_s = self.settings.call_timeout_s
        return await self._retry(lambda: self._answer(method, request, timeout_s))

    async def send(
        self,
        method: grpc.StreamUnaryMultiCallable[Request, Response],
        requests: Callable[[], Iterator[Request]],
    ) -> Response:
        """The answer to a stream of requests, which `requests` makes anew for every try."""
        with self.streams.other():
            return await self._retry(lambda: self._answer(method, requests(), CALL_TIMEOUT_LIMIT_S))

    @asynccontextmanager
    async def stream(
        self,
        method: grpc.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        timeout_s: float | None = None,
        watch: Watch | None = None,
    ) -> AsyncIterator[AsyncIterator[Response]]:
        """The responses, raising grpc.RpcError; cancelled on the way out, whatever happened.

        An abandoned stream would stay open at both ends (grpc#43462). One of a `watch` may end
        before: see `Watch.gave_way`.
        """
        with tracing.calling(method) as carried:
            call = method(request, timeout=timeout_s, metadata=(*self._metadata, *carried))
            if watch is not None:
                watch.begin(call)
            try:
                yield self._responses(call)
            finally:
                if watch is not None:
                    watch.end()
                call.cancel()

    async def let_others_go_first(self) -> None:
        """Waits while there are uploads or downloads of this connection."""
        while self.streams.others_wanted:
            await self._sleep(_LOOK_AGAIN_S)

    def patience(self, deadline: float | None = None) -> Patience:
        """A fresh measure of how long the farm may be away."""
        return Patience(
            str(self.settings.target),
            self.settings.connect_timeout_s,
            self._sleep,
            lambda: self.aside(lambda: handshake.problem(self.settings.target)),
            deadline,
            self.settings.on_waiting,
            self.streams,
        )

    @property
    @abstractmethod
    def channel(self) -> grpc.Channel | grpc.aio.Channel:
        """What the stubs speak over."""

    @abstractmethod
    async def close(self) -> None:
        """Ends the channel and every stream on it."""

    @abstractmethod
    async def aside(self, work: Callable[[], T]) -> T:
        """What `work` returns, which reads or writes files, or computes for long.

        It has ended when this has, also where this was cancelled.
        """

    @abstractmethod
    def at_once(
        self, act: Callable[[Item], Coroutine[Any, Any, T]], items: Collection[Item]
    ) -> AsyncGenerator[T, None]:
        """What `act` returns for each item, in the order of ending; AT_ONCE are under way."""

    @abstractmethod
    async def _answer(
        self, method: Callable[..., Response], request: object, timeout_s: float
    ) -> Response:
        """The answer to one call, or grpc.RpcError."""

    @abstractmethod
    def _responses(self, call: Iterator[Response]) -> AsyncIterator[Response]:
        """What a stream brings, or grpc.RpcError."""

    @abstractmethod
    async def _sleep(self, duration_s: float) -> None:
        """Waits."""

    async def _retry(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` returns, tried again while the farm is away."""
        patience = self.patience()
        while True:
            try:
                return await attempt()
            except grpc.RpcError as error:
                await patience.bear(error)
