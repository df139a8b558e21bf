"""Between the workers connected here and the farm's table of workers.

What changes here is written there at once; what is asked for there, at any gateway, is done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection

import structlog

from farm.gateway.workers import Worker, Workers
from farm.store import cordons
from farm.store import workers as rows
from farm.store.clock import Instant
from farm.store.errors import StoreAway
from farm.store.store import Store
from farm.store.workers import WorkerRow
from svdfarm.v1 import session_service_pb2 as pb

log = structlog.get_logger()

_KEEP_LEASES = 20  # that a worker which left has to come back and be known by its row
_MESSAGE_LIMIT = 4096  # characters of what a worker says that are kept
_PAUSE_AFTER_ERROR_S = 1.0


class Roster:
    """Keeps the rows of the workers connected here, with two tasks, started and ended by `run`."""

    def __init__(self, store: Store, workers: Workers, wake: Callable[[Worker], None]) -> None:
        """`wake` says that a worker here may take shots again."""
        self._store = store
        self._workers = workers
        self._wake = wake
        self._look = asyncio.Event()

    def look(self) -> None:
        """Says that some gateway changed a worker."""
        self._look.set()

    async def run(self) -> None:
        """Does what is asked of the workers here, and writes whom it hears, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self._obey_when_told))
            tasks.create_task(self._forever(self._hear))

    async def _forever(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except Exception as error:  # a full disk, a store that is away: it may come back
                log.error("workers.failed", step=step.__name__, exc_info=error)
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)

    async def join(self, worker: Worker) -> None:
        """Records a new session."""
        told = worker.as_told(self._store.name)
        await self._store.database.write(rows.join, told, self._steady_s())

    async def change(self, worker: Worker) -> None:
        """Records what a worker says of itself now."""
        await self._store.database.write(rows.change, worker.as_told(self._store.name))

    async def check(self, worker: Worker) -> None:
        """Does what is asked of a worker, which is cordoned where its canary clip failed."""
        if worker.about.HasField("error"):
            told = worker.about.error.message[:_MESSAGE_LIMIT]
            await self._store.database.write(cordons.cordon_at_start, worker.id, told)
        row = await self._store.database.read(rows.get, worker.id, self._steady_s())
        if row is not None:
            self._obey(worker, row)

    async def leave(self, worker: Worker) -> None:
        """Records that a session has ended."""
        with contextlib.suppress(StoreAway):  # its row falls silent by itself
            await self._store.database.write(rows.leave, worker.session)

    async def refuse(self, worker: Worker) -> None:
        """Counts a report that came too late."""
        with contextlib.suppress(StoreAway):
            await self._store.database.write(rows.count_refused, worker.id)

    async def obey(self) -> None:
        """Does what the table asks of the workers here."""
        cordoned = [worker.id for worker in self._workers if worker.cordoned]
        asked = await self._store.database.read(
            rows.asked_at, self._store.name, cordoned, self._steady_s()
        )
        for row in asked:
            worker = self._workers.get(row.id)
            if worker is not None:
                self._obey(worker, row)

    def _obey(self, worker: Worker, row: WorkerRow) -> None:
        if worker.session != row.session:
            return
        if row.drain_wanted and not worker.leaving:
            worker.leaving = True
            worker.send(pb.SessionResponse(drain=pb.Drain()))
        if worker.cordoned != (row.cordon is not None):
            worker.cordoned = row.cordon is not None
            reason = row.cordon.reason if row.cordon else None
            log.warning("worker.cordon", worker=worker.id, reason=reason)
            for lease in worker.ahead() if worker.cordoned else ():
                worker.cancel(lease)
            self._wake(worker)

    async def served(self) -> list[str]:
        """The models of the farm's connected workers, the most served first."""
        counted = await self._store.database.read(rows.served, self._heard_since_s())
        return [name for name, _ in counted.most_common()]

    async def taking(self) -> set[str]:
        """The models whose shots some worker of the farm takes."""
        found = await self._store.database.read(rows.taking, self._heard_since_s())
        return set().union(*found.values())

    async def takers(self, models: Collection[str]) -> int:
        """How many workers take shots of `models`; none where nobody takes those of one."""
        found = await self._store.database.read(rows.taking, self._heard_since_s())
        useful = [served for served in found.values() if not served.isdisjoint(models)]
        return len(useful) if set(models) <= set().union(*useful) else 0

    async def _obey_when_told(self) -> None:
        await self._look.wait()
        self._look.clear()
        await self.obey()

    async def _hear(self) -> None:
        await asyncio.sleep(self._store.lease_s / 3)
        since = time.monotonic() - self._store.lease_s / 2
        heard = [w.as_told(self._store.name) for w in self._workers if w.last_heard_s >= since]
        keep_s = _KEEP_LEASES * self._store.lease_s
        await self._store.database.write(
            rows.hear, self._store.name, heard, self._steady_s(), keep_s
        )

    def _steady_s(self) -> Instant:
        return self._store.clock.steady_s()

    def _heard_since_s(self) -> Instant:
        return self._steady_s() - rows.silence_limit_s(self._store.lease_s)
