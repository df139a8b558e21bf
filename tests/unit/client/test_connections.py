"""What the two kinds of connection promise to the coroutines that run over them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from svdfarm.async_connection import AsyncConnection
from svdfarm.blocking import BlockingConnection, iterate
from svdfarm.connection import AT_ONCE, Settings

NOWHERE = Settings("127.0.0.1:1", None, connect_timeout_s=1.0, call_timeout_s=1.0, on_waiting=None)


class Crowd:
    """How many are inside at the same time, and at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self.peak = 0

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1
            self.peak = max(self.peak, self._count)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1


def test_so_many_are_under_way_in_threads() -> None:
    crowd, together = Crowd(), threading.Barrier(AT_ONCE)

    async def act(item: int) -> int:
        with crowd:
            together.wait(10)
        return item

    ended = list(iterate(BlockingConnection(NOWHERE).at_once(act, range(3 * AT_ONCE))))

    assert sorted(ended) == list(range(3 * AT_ONCE))
    assert crowd.peak == AT_ONCE


async def test_so_many_are_under_way_on_a_loop() -> None:
    crowd, together = Crowd(), asyncio.Barrier(AT_ONCE)

    async def act(item: int) -> int:
        with crowd:
            await together.wait()
        return item

    at_once = AsyncConnection(NOWHERE).at_once(act, range(3 * AT_ONCE))
    ended = [item async for item in at_once]

    assert sorted(ended) == list(range(3 * AT_ONCE))
    assert crowd.peak == AT_ONCE


async def test_a_cancelled_task_ends_after_the_thread_it_waits_for() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(10)
        ended.set()

    task = asyncio.create_task(AsyncConnection(NOWHERE).aside(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    for _ in range(100):  # more turns of the loop than a task needs to end
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended.is_set()
