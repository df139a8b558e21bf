"""Fragments of pages that change: one topic is followed once, and read by many browsers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import cached_property

import grpc.aio
import structlog

log = structlog.get_logger()

_TOGETHER_S = 0.1  # what changes within it goes out at once
_SIGN_OF_LIFE_S = 15.0


@dataclass(frozen=True)
class Fragment:
    """An element of a page, as it is now; `into` is the list that it heads where it is new."""

    id: str
    version: str
    render: Callable[[], str]
    number: int = 0  # of a shot, for those who look at some of them
    into: str = ""

    @cached_property
    def event(self) -> str:
        """As a Server-Sent Event; made once, however many read it."""
        told = {"id": self.id, "html": self.render(), "into": self.into}
        return f"event: swap\ndata: {json.dumps(told)}\n\n"


class Reader:
    """One browser: what it has not been told yet, the newest of each."""

    def __init__(self, wants: Callable[[Fragment], bool]) -> None:
        self._wants = wants
        self._pending: dict[str, Fragment] = {}
        self._news = asyncio.Event()
        self._ended = False

    def tell(self, fragment: Fragment) -> None:
        """A fragment has changed."""
        if self._wants(fragment):
            self._pending[fragment.id] = fragment
            self._news.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._news.set()

    async def events(self) -> AsyncIterator[str]:
        """The body of the answer."""
        yield "retry: 1500\n\n"
        while not self._ended:
            try:
                async with asyncio.timeout(_SIGN_OF_LIFE_S):
                    await self._news.wait()
            except TimeoutError:
                yield ": here\n\n"
                continue
            await asyncio.sleep(_TOGETHER_S)
            self._news.clear()
            told, self._pending = self._pending, {}
            if told:
                yield "".join(fragment.event for fragment in told.values())


class Topic:
    """The fragments of one page, and who reads them."""

    def __init__(self, follow: Callable[[Topic], Awaitable[None]]) -> None:
        self._fragments: dict[str, Fragment] = {}
        self.readers: set[Reader] = set()
        self.task = asyncio.ensure_future(self._run(follow))

    def put(self, fragment: Fragment) -> None:
        """Tells a fragment where it differs from what was told before."""
        before = self._fragments.get(fragment.id)
        if before is None or before.version != fragment.version:
            self._fragments[fragment.id] = fragment
            for reader in self.readers:
                reader.tell(fragment)

    def drop(self, fragment_id: str) -> None:
        """Takes an element off every page."""
        if self._fragments.pop(fragment_id, None):
            gone = Fragment(fragment_id, "", lambda: "")
            for reader in self.readers:
                reader.tell(gone)

    @property
    def ids(self) -> list[str]:
        """Of the fragments that there are."""
        return list(self._fragments)

    def join(self, reader: Reader) -> None:
        """A reader is told everything, as its page may be older."""
        self.readers.add(reader)
        for fragment in self._fragments.values():
            reader.tell(fragment)

    async def _run(self, follow: Callable[[Topic], Awaitable[None]]) -> None:
        try:
            await follow(self)
        except grpc.aio.AioRpcError as error:
            log.info("live.ended", code=error.code().name)  # its browsers ask again, and are told
        except Exception as error:
            log.error("live.failed", exc_info=error)
        finally:
            for reader in self.readers:
                reader.end()


class Hub:
    """The topics that somebody reads."""

    def __init__(self) -> None:
        self._topics: dict[Hashable, Topic] = {}
        self._stopped = False

    async def read(
        self,
        key: Hashable,
        follow: Callable[[Topic], Awaitable[None]],
        wants: Callable[[Fragment], bool] = lambda _: True,
    ) -> AsyncIterator[str]:
        """The events of the topic under `key`, which `follow` feeds while somebody reads it."""
        if self._stopped:
            return
        topic = self._topics.get(key)
        if topic is None or topic.task.done():
            topic = self._topics[key] = Topic(follow)
        reader = Reader(wants)
        topic.join(reader)
        try:
            async for event in reader.events():
                yield event
        finally:
            topic.readers.discard(reader)
            if not topic.readers:
                topic.task.cancel()
                if self._topics.get(key) is topic:
                    del self._topics[key]

    def stop(self) -> None:
        """Ends every answer: the gateway stops."""
        self._stopped = True
        for topic in self._topics.values():
            topic.task.cancel()
