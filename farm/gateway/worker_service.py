"""WorkerService: the farm's GPUs for its operators."""

from __future__ import annotations

from farm.gateway import names
from farm.gateway.config import Limits
from farm.gateway.wall import Context, unary
from farm.gateway.workers import Worker, Workers
from farm.store.errors import NotFound
from farm.wire import model_to_wire
from svdfarm.v1 import resources_pb2, session_service_pb2
from svdfarm.v1 import worker_service_pb2 as pb
from svdfarm.v1 import worker_service_pb2_grpc as pb_grpc


class WorkerService(pb_grpc.WorkerServiceServicer):
    """Shows the connected workers, and drains them."""

    def __init__(self, workers: Workers, limits: Limits) -> None:
        self.limits = limits
        self._workers = workers

    @unary
    async def GetWorker(  # noqa: N802 - the proto's name, here and below
        self, request: pb.GetWorkerRequest, context: Context
    ) -> resources_pb2.Worker:
        """One worker."""
        return _to_wire(self._find(request.name))

    @unary
    async def ListWorkers(  # noqa: N802
        self, request: pb.ListWorkersRequest, context: Context
    ) -> pb.ListWorkersResponse:
        """A page of the workers, by name."""
        size = names.page_size(request.page_size)
        start = names.page_token(request.page_token) or 0
        everyone = sorted(self._workers, key=lambda worker: worker.id)
        page = everyone[start : start + size]
        token = str(start + size) if start + size < len(everyone) else ""
        return pb.ListWorkersResponse(workers=map(_to_wire, page), next_page_token=token)

    @unary
    async def DrainWorker(  # noqa: N802
        self, request: pb.DrainWorkerRequest, context: Context
    ) -> resources_pb2.Worker:
        """Tells a worker to end its shot and take no other."""
        worker = self._find(request.name)
        worker.leaving = True
        worker.send(session_service_pb2.SessionResponse(drain=session_service_pb2.Drain()))
        return _to_wire(worker)

    def _find(self, name: str) -> Worker:
        worker = self._workers.get(names.worker_id(name))
        if worker is None:
            raise NotFound("connected worker", name)
        return worker


def _to_wire(worker: Worker) -> resources_pb2.Worker:
    about = resources_pb2.Worker()
    about.CopyFrom(worker.about)
    about.state = worker.state
    about.connect_time.FromNanoseconds(int(worker.connect_time_s * 1e9))
    del about.models[:]
    about.models.extend(map(model_to_wire, worker.models.values()))
    about.shot = next((str(lease.shot) for lease in worker.leases.values()), "")
    return about
