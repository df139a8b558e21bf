"""Reports of how attempts ended: recorded in the store, then settled with the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

import structlog

from farm.gateway.attempt_log import to_stored
from farm.gateway.convert import lease_from_wire, lease_to_wire
from farm.gateway.direct import publish_uploaded
from farm.gateway.dispatch import Dispatcher
from farm.gateway.metrics import WORKER_STAGES, Metrics
from farm.gateway.roster import Roster
from farm.gateway.telling import read_duration_s
from farm.gateway.traces import Traces
from farm.gateway.upload import Upload, UploadRefused, publish
from farm.gateway.workers import Worker
from farm.jobs.retry import Reason
from farm.jobs.states import Wish
from farm.store import leases
from farm.store.errors import StoreAway, is_disk_full
from farm.store.records import Lease
from farm.store.store import Store
from svdfarm.v1 import session_service_pb2 as pb

log = structlog.get_logger()

_MESSAGE_LIMIT = 4096  # characters of a worker's error that are kept
# Before a session ends because of the store: its worker dials at once and sends its video again.
_PAUSE_AFTER_ERROR_S = 2.0


class Reports:
    """Takes what workers report of their shots."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        roster: Roster,
        spawn: Callable[[Coroutine[None, None, None]], None],
        metrics: Metrics,
        traces: Traces,
    ) -> None:
        """`spawn` runs what nobody waits for."""
        self._store = store
        self._dispatcher = dispatcher
        self._roster = roster
        self._spawn = spawn
        self._metrics = metrics
        self._traces = traces

    async def finish(self, worker: Worker, lease: Lease, done: pb.Done, upload: Upload) -> None:
        """Publishes a video and tells the worker how its attempt ended.

        Where the farm's own store cannot take it, or not even record a failure, the session ends:
        the worker keeps its video and brings it again. One that nobody wants any more is let go.
        """
        try:
            self._settle(worker, lease, await self._publish(worker, lease, done, upload))
        except Exception as error:  # the wall of this task
            log.error(
                "settle.failed",
                **lease.ids,
                worker=worker.id,
                exc_info=error,
            )
            if not await self._let_go(worker, lease):
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                worker.outbox.put_nowait(None)
        finally:
            upload.discard()

    async def _publish(self, worker: Worker, lease: Lease, done: pb.Done, upload: Upload) -> bool:
        if not worker.holds(lease):  # its chunks were passed over
            database, sha256 = self._store.database, done.video.sha256
            if await database.read(leases.has_succeeded, lease, sha256):
                log.info(
                    "report.repeated",
                    **lease.ids,
                    worker=worker.id,
                )
                return True
        told_s = time.monotonic()
        render_duration_s = read_duration_s(done.render_duration.ToMicroseconds() / 1e6)
        lines = to_stored(done.log)
        how = (done.video, render_duration_s, worker.identities, lines)
        try:
            if done.uploaded:
                ending = publish_uploaded(self._store, lease, *how)
            else:
                ending = publish(self._store, lease, upload, *how)
            accepted = await ending
        except UploadRefused as error:
            return await self._dispatcher.fail(worker, lease, error.reason, str(error), lines=lines)
        except (StoreAway, OSError):  # neither the shot's fault nor the worker's
            raise
        except Exception as error:
            if is_disk_full(error):  # as the database says it
                raise
            log.error(
                "publish.failed",
                **lease.ids,
                worker=worker.id,
                exc_info=error,
            )
            return await self._dispatcher.fail(
                worker, lease, Reason.INTERNAL, str(error), lines=lines
            )
        if accepted:
            upload_s, publish_s = told_s - upload.started_s, time.monotonic() - told_s
            self._count(done, upload_s, publish_s)
            self._traces.published(lease, done.video.size_bytes, upload_s, publish_s)
            self._traces.ended(lease)
        log.info(
            "shot.succeeded" if accepted else "attempt.stale",
            **lease.ids,
            worker=worker.id,
        )
        self._dispatcher.settled(worker, lease)
        return accepted

    def _count(self, done: pb.Done, upload_s: float, publish_s: float) -> None:
        self._metrics.succeeded()
        self._metrics.stage["upload"].observe(upload_s)
        self._metrics.stage["publish"].observe(publish_s)
        for name in WORKER_STAGES:
            if name in done.stage_durations:
                took_s = done.stage_durations[name].ToMicroseconds() / 1e6
                self._metrics.stage[name].observe(took_s)

    async def failed(self, worker: Worker, failed: pb.Failed) -> None:
        """Ends an attempt that the worker could not end with a video."""
        lease = lease_from_wire(failed.lease)
        try:
            reason = Reason(failed.error.reason)
        except ValueError:  # of a newer worker
            reason = Reason.INTERNAL
        message = failed.error.message[:_MESSAGE_LIMIT]
        lines = to_stored(failed.log)
        accepted = await self._dispatcher.fail(worker, lease, reason, message, lines=lines)
        self._settle(worker, lease, accepted)

    async def released(self, worker: Worker, released: pb.Released) -> None:
        """Ends an attempt whose device has let go of it, as it was told."""
        await self._release(worker, lease_from_wire(released.lease), to_stored(released.log))

    async def _release(self, worker: Worker, lease: Lease, lines: str | None) -> None:
        accepted = await self._dispatcher.release(worker, lease, lines)
        self._answer(worker, lease, accepted)  # it answers our own Cancel: never late

    async def _let_go(self, worker: Worker, lease: Lease) -> bool:
        """Ends an attempt whose video could not be kept, if its job is being cancelled."""
        try:
            wishes = await self._store.database.read(leases.wishes, {worker.id})
            if wishes.get(lease.token) is not Wish.CANCEL:
                return False
            await self._release(worker, lease, None)
        except Exception as error:  # nothing can be recorded: the worker comes again
            log.error(
                "release.failed",
                **lease.ids,
                worker=worker.id,
                exc_info=error,
            )
            return False
        return True

    def _settle(self, worker: Worker, lease: Lease, accepted: bool) -> None:
        if not accepted:
            self._metrics.stale_reports.inc()
            log.warning("report.refused", **lease.ids, worker=worker.id)
            self._spawn(self._roster.refuse(worker))
        self._answer(worker, lease, accepted)

    def _answer(self, worker: Worker, lease: Lease, accepted: bool) -> None:
        if lease.token in worker.letting_go:
            worker.letting_go.discard(lease.token)
            self._dispatcher.wake(worker)
        settled = pb.Settled(lease=lease_to_wire(lease), accepted=accepted)
        worker.send(pb.SessionResponse(settled=settled))
