"""How much is taken in: of one body, and of how many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farm.web.refusals import Refused

IMAGE_LIMIT_BYTES = 16 * 2**20
FIELD_BYTES = 64 * 2**10  # of one field of a form, and of JSON without the image in it
_WAIT_S = 30.0
_READ_S = 300.0


class BodyLimit:
    """Refuses, with 413, to read more of a body."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        seen_bytes = 0

        async def limited() -> Message:
            nonlocal seen_bytes
            message = await receive()
            seen_bytes += len(message.get("body", b""))
            if seen_bytes > self._limit_bytes:
                raise Refused(
                    413,
                    f"the body has more than {_told(self._limit_bytes)}, the largest allowed",
                    "too_large",
                )
            return message

        await self._app(scope, limited, send)


class Slots:
    """So many at a time; what others send stays in their sockets meanwhile."""

    def __init__(self, count: int, wait_s: float = _WAIT_S) -> None:
        self._free = asyncio.Semaphore(count)
        self._count = count
        self._wait_s = wait_s

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Waits for one. Raises Refused, 503, where none comes free."""
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise Refused(
                503,
                f"the farm has {self._count} of these under way, as many as it does at a time; "
                "send it again",
                "busy",
            ) from None
        try:
            yield
        finally:
            self._free.release()


@asynccontextmanager
async def reading(limit_s: float = _READ_S) -> AsyncIterator[None]:
    """Raises Refused, 408, for a body that takes longer to arrive: others wait for its place."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise Refused(
            408, f"the body took longer than {limit_s:g} s; send a smaller one", "too_slow"
        ) from None


def _told(size_bytes: int) -> str:
    return f"{size_bytes // 2**20} MiB" if size_bytes >= 2**20 else f"{size_bytes // 2**10} KiB"
