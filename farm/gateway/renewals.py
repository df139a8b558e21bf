"""Extends the leases of workers that were heard of: many in one transaction, and only when due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from farm.gateway.workers import Worker
from farm.store import leases
from farm.store.store import Store

log = structlog.get_logger()

# A lease is extended once so much of it has gone by: a clip that is done before costs no write.
_DUE_AT = 1 / 3
_AT_ONCE = 500  # workers in one transaction
_GATHER_S = 0.2  # heartbeats of so long go into one
_PAUSE_AFTER_ERROR_S = 1.0


class Renewals:
    """Collects heartbeats, with a task that `run` is."""

    def __init__(self, store: Store, lost: Callable[[list[Worker]], Awaitable[None]]) -> None:
        """`lost` is told of workers some of whose leases are no more."""
        self._store = store
        self._lost = lost
        self._heard: dict[str, Worker] = {}
        self._wake = asyncio.Event()

    def heard(self, worker: Worker) -> None:
        """Says that a worker lives, and so do the leases that it holds."""
        if worker.due(self._store.lease_s * _DUE_AT):
            self._heard[worker.id] = worker
            self._wake.set()

    async def run(self) -> None:
        """Extends leases until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._renew()
            except Exception as error:  # a store that is away: the next heartbeats try again
                log.error("leases.not_renewed", exc_info=error)
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            await asyncio.sleep(_GATHER_S)

    async def _renew(self) -> None:
        while self._heard:
            workers = [self._heard.pop(name) for name in list(self._heard)[:_AT_ONCE]]
            held = {token: w for w in workers for token in w.due(self._store.lease_s * _DUE_AT)}
            now_s, expiry_s = time.monotonic(), self._store.clock.steady_s() + self._store.lease_s
            ids = {worker.id for worker in workers}
            renewed = await self._store.database.write(leases.renew, ids, held, expiry_s)
            for token in renewed:
                held.pop(token).renewed(token, now_s)
            if held:
                await self._lost(list({worker.id: worker for worker in held.values()}.values()))
