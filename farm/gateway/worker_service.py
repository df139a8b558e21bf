"""WorkerService: the farm's GPUs for its operators, at whichever gateway they are."""

from __future__ import annotations

import structlog

from farm.gateway import names
from farm.gateway.config import Limits
from farm.gateway.roster import Roster
from farm.gateway.wall import Context, unary
from farm.jobs.retry import Reason
from farm.store import cordons
from farm.store import workers as rows
from farm.store.errors import NotFound
from farm.store.records import ShotKey
from farm.store.store import Store
from farm.store.workers import WorkerRow
from svdfarm.v1 import resources_pb2 as resources
from svdfarm.v1 import worker_service_pb2 as pb
from svdfarm.v1 import worker_service_pb2_grpc as pb_grpc

log = structlog.get_logger()


class WorkerService(pb_grpc.WorkerServiceServicer):
    """Shows the connected workers, drains and uncordons them."""

    def __init__(self, store: Store, roster: Roster, limits: Limits) -> None:
        self.limits = limits
        self._store = store
        self._roster = roster

    @unary
    async def GetWorker(  # noqa: N802 - the proto's name, here and below
        self, request: pb.GetWorkerRequest, context: Context
    ) -> resources.Worker:
        """One worker."""
        return await self._get(request.name)

    @unary
    async def ListWorkers(  # noqa: N802
        self, request: pb.ListWorkersRequest, context: Context
    ) -> pb.ListWorkersResponse:
        """A page of the workers, by name."""
        size = names.page_size(request.page_size)
        start = names.page_token(request.page_token) or 0
        steady_s = self._store.clock.steady_s()
        found = await self._store.database.read(rows.page, steady_s, start, size + 1)
        page = await self._to_wire(found[:size])
        token = str(start + size) if len(found) > size else ""
        return pb.ListWorkersResponse(workers=page, next_page_token=token)

    @unary
    async def DrainWorker(  # noqa: N802
        self, request: pb.DrainWorkerRequest, context: Context
    ) -> resources.Worker:
        """Tells a worker to end its shot and take no other."""
        worker_id = names.worker_id(request.name)
        if not await self._store.database.write(rows.want_drain, worker_id):
            raise NotFound("connected worker", request.name)
        log.info("worker.drain_wanted", worker=worker_id)
        await self._roster.obey()
        return await self._get(request.name)

    @unary
    async def UncordonWorker(  # noqa: N802
        self, request: pb.UncordonWorkerRequest, context: Context
    ) -> resources.Worker:
        """Lets a cordoned worker take shots again."""
        worker_id = names.worker_id(request.name)
        now_s = self._store.clock.wall_s()
        if not await self._store.database.write(cordons.uncordon, worker_id, now_s):
            raise NotFound("connected worker", request.name)
        log.info("worker.uncordoned", worker=worker_id)
        await self._roster.obey()
        return await self._get(request.name)

    async def _get(self, name: str) -> resources.Worker:
        steady_s = self._store.clock.steady_s()
        row = await self._store.database.read(rows.get, names.worker_id(name), steady_s)
        if row is None:
            raise NotFound("connected worker", name)
        return (await self._to_wire([row]))[0]

    async def _to_wire(self, found: list[WorkerRow]) -> list[resources.Worker]:
        ids = [row.id for row in found]
        shots = await self._store.database.read(rows.rendered_by, ids)
        limit_s = rows.silence_limit_s(self._store.lease_s)
        return [_to_wire(row, shots.get(row.id), limit_s) for row in found]


def _to_wire(row: WorkerRow, shot: ShotKey | None, silence_limit_s: float) -> resources.Worker:
    worker = resources.Worker.FromString(row.about)
    worker.name = f"workers/{row.id}"
    worker.ClearField("error")
    worker.state = resources.Worker.State.Value(row.state(silence_limit_s))
    if row.cordon is not None:
        error = resources.Error(reason=row.cordon.reason, message=row.cordon.message)
        worker.error.CopyFrom(error)
    worker.shot = str(shot) if shot else ""
    worker.connect_time.FromNanoseconds(int(row.connect_time_s * 1e9))
    worker.refused_report_count = row.refused_report_count
    if row.silent_s > silence_limit_s:
        told = f"nothing is heard of it for {row.silent_s:.0f} s"
        worker.error.CopyFrom(resources.Error(reason=Reason.WORKER_LOST, message=told))
    return worker
