"""A connection whose waiting is an event loop's."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
)
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar, cast

import grpc
import grpc.aio

from svdfarm import tracing
from svdfarm.connection import AT_ONCE, Connection
from svdfarm.errors import FarmFailed

T = TypeVar("T")
Item = TypeVar("Item")
Response = TypeVar("Response")


class AsyncConnection(Connection):
    """See `Connection`. Belongs to the event loop of its first call."""

    @cached_property
    def channel(self) -> grpc.aio.Channel:
        """See `Connection`."""
        return self.settings.target.aio_channel(self.settings.channel_options())

    async def close(self) -> None:
        """See `Connection`."""
        await self.channel.close()

    async def aside(self, work: Callable[[], T]) -> T:
        """See `Connection`."""
        ending = asyncio.get_running_loop().run_in_executor(None, work)
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait([ending])
            raise

    async def at_once(
        self, act: Callable[[Item], Coroutine[Any, Any, T]], items: Collection[Item]
    ) -> AsyncGenerator[T, None]:
        """See `Connection`."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def act_in_turn(item: Item) -> T:
            async with slots:
                return await act(item)

        tasks = [asyncio.create_task(act_in_turn(item)) for item in items]
        try:
            for ended in asyncio.as_completed(tasks):
                yield await ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(
        self, method: Callable[..., Response], request: object, timeout_s: float
    ) -> Response:
        with tracing.calling(method) as carried, _closing_told():
            metadata = (*self._metadata, *carried)
            # The stubs are typed for a channel that blocks.
            call = method(request, timeout=timeout_s, metadata=metadata)
            return await cast(Awaitable[Response], call)

    async def _responses(self, call: Iterator[Response]) -> AsyncIterator[Response]:
        with _closing_told():
            async for response in cast("grpc.aio.UnaryStreamCall[object, Response]", call):
                yield response

    async def _sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


@contextmanager
def _closing_told() -> Iterator[None]:
    """FarmFailed where gRPC cancels a call of ours, and nobody the task that waits for it."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise FarmFailed("the client was closed while it waited for the farm") from None
