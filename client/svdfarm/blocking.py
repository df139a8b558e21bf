"""A connection that blocks, and what runs coroutines over it, without an event loop.

Nothing that they await suspends: one step runs a coroutine to its end.
"""

from __future__ import annotations

import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterator,
)
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from typing import Any, TypeVar

import grpc

from svdfarm import tracing
from svdfarm.connection import AT_ONCE, Connection, Settings

T = TypeVar("T")
Item = TypeVar("Item")
Response = TypeVar("Response")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine`, over a BlockingConnection, returns."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError(f"{coroutine} waits for an event loop")


def iterate(events: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """What `events`, over a BlockingConnection, yields; the two are closed together."""
    try:
        while True:
            try:
                event = run(events.__anext__())
            except StopAsyncIteration:
                return
            yield event
    finally:
        run(events.aclose())


class BlockingConnection(Connection):
    """See `Connection`. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._channel = settings.target.channel(settings.channel_options())

    @property
    def channel(self) -> grpc.Channel:
        """See `Connection`."""
        return self._channel

    async def close(self) -> None:
        """See `Connection`."""
        self._channel.close()

    async def aside(self, work: Callable[[], T]) -> T:
        """See `Connection`."""
        return work()

    async def at_once(
        self, act: Callable[[Item], Coroutine[Any, Any, T]], items: Collection[Item]
    ) -> AsyncGenerator[T, None]:
        """See `Connection`."""

        def act_on(item: Item) -> T:
            return run(act(item))

        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            for ended in as_completed(
                [pool.submit(copy_context().run, act_on, item) for item in items]
            ):
                yield ended.result()
        finally:
            pool.shutdown(cancel_futures=True)

    async def _answer(
        self, method: Callable[..., Response], request: object, timeout_s: float
    ) -> Response:
        with tracing.calling(method) as carried:
            return method(request, timeout=timeout_s, metadata=(*self._metadata, *carried))

    async def _responses(self, call: Iterator[Response]) -> AsyncIterator[Response]:
        for response in call:
            yield response

    async def _sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)  # noqa: ASYNC251 - no loop is there to block
