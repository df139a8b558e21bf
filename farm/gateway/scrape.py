"""What /metrics answers: what was counted, and what there is now, looked up when somebody asks."""

from __future__ import annotations

import asyncio
import time

import structlog
from prometheus_client.exposition import choose_encoder

from farm.gateway.feed import Feed
from farm.gateway.metrics import Metrics, OfFarm
from farm.gateway.workers import Workers
from farm.store import levels
from farm.store.room import Room
from farm.store.store import Store
from farm.store.workers import silence_limit_s

log = structlog.get_logger()

_GOOD_FOR_S = 1.0  # however many ask, the store is asked once
_PATIENCE_S = 3.0  # with the store: Prometheus waits ten seconds by default


class Scraper:
    """Answers one caller after the other; nothing of it holds up the gateway's loop."""

    def __init__(
        self, metrics: Metrics, store: Store, workers: Workers, feed: Feed, room: Room
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._workers = workers
        self._feed = feed
        self._room = room
        self._one_at_a_time = asyncio.Lock()
        self._asked: asyncio.Task[OfFarm] | None = None
        self._asked_s = 0.0

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Every metric as text, and its media type: OpenMetrics where `accept` asks for it."""
        encode, media_type = choose_encoder(accept)
        async with self._one_at_a_time:
            now = self._metrics.now
            now.farm = await self._look()
            now.leases = sum(len(worker.leases) for worker in self._workers)
            now.watchers = self._feed.watcher_count
            now.disk_free_bytes = self._room.free_bytes
            now.disk_reserve_bytes = self._room.reserve_bytes
            now.devices = tuple(worker.device for worker in self._workers)
            # A thousand workers make a long text.
            return await asyncio.to_thread(encode, self._metrics.registry), media_type

    async def _look(self) -> OfFarm | None:
        """What the store tells, not older than a second; None where it does not answer in time."""
        old = time.monotonic() - self._asked_s > _GOOD_FOR_S
        if self._asked is None or (old and self._asked.done()):
            self._asked = asyncio.create_task(self._ask())
            self._asked_s = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await asyncio.shield(self._asked)
        except TimeoutError:
            return None  # it is asked still, and by nobody else
        except Exception as error:  # the wall: what was counted can be told all the same
            log.warning("metrics.store_silent", exc_info=error)
            return None

    async def _ask(self) -> OfFarm:
        clock = self._store.clock
        told = await self._store.database.read(
            levels.read, clock.steady_s(), silence_limit_s(self._store.lease_s)
        )
        now_s = clock.wall_s()
        waits = {model: max(0.0, now_s - since) for model, since in told.queued_since_s.items()}
        return OfFarm(told.shots, waits, told.workers)

    def stop(self) -> None:
        """Asks for nothing any more."""
        if self._asked is not None:
            self._asked.cancel()
