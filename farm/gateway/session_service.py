"""SessionService: what workers talk to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from concurrent.futures import Future
from functools import partial

import grpc
import structlog

from farm.gateway.config import Limits
from farm.gateway.convert import lease_from_wire, lease_to_wire
from farm.gateway.demand import demand
from farm.gateway.direct import upload_link
from farm.gateway.dispatch import Dispatcher
from farm.gateway.feed import Feed
from farm.gateway.metrics import Metrics
from farm.gateway.names import worker_id
from farm.gateway.renewals import Renewals
from farm.gateway.reports import Reports
from farm.gateway.roster import Roster
from farm.gateway.telling import check_progress, read_models
from farm.gateway.traces import Traces
from farm.gateway.upload import Upload
from farm.gateway.wall import Context, Refusal, invalid, streaming, unary
from farm.gateway.workers import Worker, Workers
from farm.jobs.retry import Reason
from farm.store import inputs, leases
from farm.store.errors import StoreAway
from farm.store.records import Lease
from farm.store.store import Store
from farm.wire import duration
from svdfarm.v1 import resources_pb2
from svdfarm.v1 import session_service_pb2 as pb
from svdfarm.v1 import session_service_pb2_grpc as pb_grpc

log = structlog.get_logger()

_HELLO_S = 10.0  # that a caller may hold a session without saying who it is


class SessionService(pb_grpc.SessionServiceServicer):
    """One `Session` call a worker, for as long as it lives, and what groups are scaled by."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        feed: Feed,
        dispatcher: Dispatcher,
        roster: Roster,
        metrics: Metrics,
        traces: Traces,
        *,
        heartbeat_s: float,
        reconnect_grace_s: float,
        limits: Limits,
    ) -> None:
        self.limits = limits
        self._store = store
        self._workers = workers
        self._feed = feed
        self._dispatcher = dispatcher
        self._roster = roster
        self._metrics = metrics
        self._reports = Reports(store, dispatcher, roster, self._spawn, metrics, traces)
        self._renewals = Renewals(store, dispatcher.let_go_of_lost)
        self._heartbeat_s = heartbeat_s
        self._reconnect_grace_s = reconnect_grace_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def run(self) -> None:
        """Extends leases until cancelled."""
        await self._renewals.run()

    @streaming
    async def Session(  # noqa: N802 - the proto's name
        self, requests: AsyncIterator[pb.SessionRequest], context: Context
    ) -> AsyncGenerator[pb.SessionResponse, None]:
        """Greets a worker, then reads what it reports and writes what it is to do."""
        hello = await _hello(requests)
        worker = Worker(worker_id(hello.worker.name), hello.worker)
        brought = _leases(hello)
        yield pb.SessionResponse(
            welcome=pb.Welcome(
                heartbeat_interval=duration(self._heartbeat_s),
                lease_duration=duration(self._store.lease_s),
                direct_upload=self._store.links is not None,
            )
        )
        # In its place first: who takes back an older session's shots sees that the worker is back.
        self._workers.join(worker)
        reader: asyncio.Task[None] | None = None
        try:
            await self._greet(worker, brought)
            reader = asyncio.create_task(self._read(worker, requests))
            while (message := await worker.outbox.get()) is not None:
                yield message
        finally:
            if reader is not None:
                reader.cancel()
            self._workers.leave(worker)
            log.info("session.ended", worker=worker.id, leases=len(worker.leases))
            self._spawn(self._take_back_unless_back(worker))

    @unary
    async def GetDemand(  # noqa: N802
        self, request: pb.GetDemandRequest, context: Context
    ) -> pb.Demand:
        """What a group of workers is needed for."""
        return await demand(self._store, request, begins=self._dispatcher.has_room())

    async def _greet(self, worker: Worker, brought: list[Lease]) -> None:
        """Adopts the leases that the worker still holds, takes back those it has lost."""
        await self._roster.join(worker)
        database = self._store.database
        expiry_s = self._store.clock.steady_s() + self._store.lease_s
        held = await database.read(leases.held_by, worker.id)
        for lease in brought:
            if lease in held:
                worker.hold(lease)
            name = self._store.name
            if await database.write(leases.adopt, lease, worker.id, expiry_s, name):
                log.info("lease.adopted", **lease.ids, worker=worker.id)
            else:
                worker.letting_go.add(lease.token)
                cancel = pb.Cancel(lease=lease_to_wire(lease))
                worker.send(pb.SessionResponse(cancel=cancel))
        for lease in held:
            if lease not in brought:
                lost = "the worker came back without this shot"
                await self._dispatcher.fail(worker, lease, Reason.WORKER_LOST, lost)
        log.info("session.started", worker=worker.id)

    async def _read(self, worker: Worker, requests: AsyncIterator[pb.SessionRequest]) -> None:
        uploads: dict[str, Upload] = {}
        try:
            async for request in requests:
                if worker.hear() > self._store.lease_s:  # silent, so that it was given nothing
                    self._dispatcher.wake(worker)
                await self._take(worker, request, uploads)
        except Exception as error:  # the wall of this task: the session ends, the worker redials
            log.warning("session.broken", worker=worker.id, exc_info=error)
        finally:
            for upload in uploads.values():
                upload.discard()
            worker.outbox.put_nowait(None)

    async def _take(
        self, worker: Worker, request: pb.SessionRequest, uploads: dict[str, Upload]
    ) -> None:
        match request.WhichOneof("message"):
            case "ready":
                await self._ready(worker, request.ready)
            case "heartbeat":
                worker.heartbeat = request.heartbeat
                self._renewals.heard(worker)
            case "progress":
                lease = lease_from_wire(request.progress.lease)
                if worker.holds(lease):
                    check_progress(request.progress.progress)
                    self._progress(worker, lease, request.progress.progress)
            case "video_chunk":
                self._take_chunk(worker, request.video_chunk, uploads)
            case "upload_request":
                lease = lease_from_wire(request.upload_request.lease)
                if worker.holds(lease):  # it begins now
                    uploads.setdefault(lease.token, Upload(self._store.spool))
                self._spawn(self._link(worker, lease, request.upload_request))
            case "done":
                lease = lease_from_wire(request.done.lease)
                upload = uploads.pop(lease.token, None) or Upload(self._store.spool)
                self._spawn(self._reports.finish(worker, lease, request.done, upload))
            case "failed":
                await self._reports.failed(worker, request.failed)
            case "released":
                await self._reports.released(worker, request.released)
            case "draining":
                worker.leaving = True
                await self._roster.change(worker)
                log.info("worker.draining", worker=worker.id)
            case other:
                raise invalid("message", f"is {other}; a session has one Hello, at its start")

    def _progress(self, worker: Worker, lease: Lease, progress: resources_pb2.Progress) -> None:
        if not self._feed.set_progress(lease, progress):
            log.warning("preview.too_large", **lease.ids, worker=worker.id)
        if self._feed.wants_preview(lease):
            request = pb.PreviewRequest(lease=lease_to_wire(lease))
            worker.send(pb.SessionResponse(preview_request=request))
        if lease.token not in worker.begun:
            # Not waited for: what ends this attempt is written behind it.
            begun = self._store.database.submit(leases.start, lease, self._store.clock.wall_s())
            begun.add_done_callback(partial(_tell_unwritten, lease))
        share = progress.step / progress.step_count if progress.step_count else 0.0
        if worker.rendered(lease, share):
            self._dispatcher.wake(worker)

    async def _ready(self, worker: Worker, ready: pb.Ready) -> None:
        models = read_models(ready.worker)
        worker.about = ready.worker
        await self._store.database.write(inputs.put_models, models)
        await self._roster.check(worker)  # before it takes shots: it may be cordoned
        worker.models = {model.name: model for model in models}
        log.info(
            "worker.ready", worker=worker.id, device=worker.about.device, models=list(worker.models)
        )
        await self._roster.change(worker)
        self._dispatcher.wake(worker)

    def _take_chunk(self, worker: Worker, chunk: pb.VideoChunk, uploads: dict[str, Upload]) -> None:
        self._metrics.bytes_in.inc(len(chunk.data))
        token = chunk.lease.token
        lease = lease_from_wire(chunk.lease)
        if not worker.holds(lease):  # lost since; Done will be refused
            return
        if worker.rendered(lease, 1.0):  # progress may be lost
            self._dispatcher.wake(worker)
        if token not in uploads:
            uploads[token] = Upload(self._store.spool)
        uploads[token].write(chunk.offset_bytes, chunk.data)

    async def _link(self, worker: Worker, lease: Lease, request: pb.UploadRequest) -> None:
        link = pb.UploadLink()
        if worker.holds(lease):  # else it was lost since; Done will be refused
            if worker.rendered(lease, 1.0):  # progress may be lost
                self._dispatcher.wake(worker)
            link = await upload_link(self._store, lease, request.video)
        link.lease.CopyFrom(request.lease)
        worker.send(pb.SessionResponse(upload_link=link))

    async def _take_back_unless_back(self, worker: Worker) -> None:
        """After a broken session: waits for the worker to come back, then requeues its shots."""
        await self._roster.leave(worker)
        await asyncio.sleep(self._reconnect_grace_s)
        if self._workers.get(worker.id) is not None:
            return  # its new session has said what it holds
        # One that said it was leaving is not lost: its shots are nobody's fault.
        reason = Reason.WORKER_DRAINED if worker.leaving else Reason.WORKER_LOST
        lost = "the worker's session broke and did not come back"
        name = self._store.name  # the worker may have come back to another gateway
        try:
            for lease in await self._store.database.read(leases.held_by, worker.id):
                await self._dispatcher.fail(None, lease, reason, lost, gateway=name)
        except StoreAway as error:  # its leases run out by themselves
            log.warning("leases.not_taken_back", worker=worker.id, error=str(error))

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        if self._closing:
            coroutine.close()
            return
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends every session; the workers keep their shots and dial again."""
        self._closing = True
        for worker in self._workers:
            worker.outbox.put_nowait(None)
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _tell_unwritten(lease: Lease, begun: Future[None]) -> None:
    # The attempt is not charged if its worker is lost: a store that was away is not its fault.
    if error := begun.exception():
        log.warning(
            "attempt.start_unwritten",
            **lease.ids,
            error=str(error),
        )


async def _hello(requests: AsyncIterator[pb.SessionRequest]) -> pb.Hello:
    try:
        async with asyncio.timeout(_HELLO_S):
            first = await anext(aiter(requests), None)
    except TimeoutError as error:
        told = f"no Hello came within {_HELLO_S:g} s; it is the first message of a session"
        raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, told, "DEADLINE_EXCEEDED") from error
    if first is None or first.WhichOneof("message") != "hello":
        raise invalid("hello", "is missing; the first message of a session is Hello")
    return first.hello


def _leases(hello: pb.Hello) -> list[Lease]:
    try:
        return [lease_from_wire(lease) for lease in hello.leases]
    except ValueError as error:
        raise invalid("hello.leases", str(error)) from error
