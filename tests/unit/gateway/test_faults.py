"""What becomes of shots when workers, gateways and disks fail; only the GPU is fake."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from farm.gateway.server import Gateway
from farm.store.database import Database
from farm.store.errors import is_disk_full
from farm.store.jobs import cancel_job
from farm.store.moves import record_change
from farm.store.sqlite import Sqlite
from svdfarm.v1 import session_service_pb2 as session_pb
from svdfarm.v1 import session_service_pb2_grpc as session_pb_grpc
from svdfarm.v1.resources_pb2 import Job, Model, Shot, Worker
from tests.running import eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller


def test_a_vanished_worker_loses_its_shot_to_another(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    address = str(gateway.address)
    job = caller.create(caller.shot("a", step_count=100))
    with running_worker(address, tmp_path, step_s=0.05) as first:
        eventually(lambda: caller.shots(job.name)[0].state == Shot.RENDERING)
        first.stop()
        with running_worker(address, tmp_path) as second:
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
            (shot,) = caller.shots(job.name)
            assert (shot.attempt_count, shot.worker) == (2, f"workers/{second.id}")


def test_a_shot_survives_the_gateway(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ExitStack() as workers:
        with running_gateway(data) as first, grpc.insecure_channel(str(first.address)) as channel:
            caller = Caller(channel)
            job = caller.create(caller.shot("a", step_count=60))
            worker = running_worker(str(first.address), tmp_path, step_s=0.05)
            agent = workers.enter_context(worker)
            eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
        with (
            running_gateway(data, address=first.address) as second,
            grpc.insecure_channel(str(second.address)) as channel,
        ):
            caller = Caller(channel)
            eventually(caller.workers, timeout_s=5)
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
            (shot,) = caller.shots(job.name)
            assert (shot.attempt_count, shot.worker) == (1, f"workers/{agent.id}")


def test_a_cancel_is_kept_through_a_broken_session(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ExitStack() as workers:
        with running_gateway(data) as first, grpc.insecure_channel(str(first.address)) as channel:
            caller = Caller(channel)
            job = caller.create(caller.shot("a", step_count=200))
            worker = running_worker(str(first.address), tmp_path, step_s=0.1)
            workers.enter_context(worker)
            eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
        database = Database.open(Sqlite(data / "farm.db"))
        database.submit(cancel_job, job.name.removeprefix("jobs/"), 0.0).result()
        database.close()
        with (
            running_gateway(data, address=first.address) as second,
            grpc.insecure_channel(str(second.address)) as channel,
        ):
            caller = Caller(channel)
            assert caller.watch(job.name)[-1].job.state == Job.CANCELLED


def test_a_silent_worker_loses_its_shot_and_is_given_no_other(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", lease_s=1.0) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        with silent_worker(channel) as taken:
            job = caller.create(caller.shot("a"), caller.shot("b"))
            eventually(lambda: [s.attempt_count for s in caller.shots(job.name)] == [1, 0])
            eventually(lambda: caller.shots(job.name)[0].state == Shot.QUEUED)
            with running_worker(str(gateway.address), tmp_path) as worker:
                assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
            assert {s.worker for s in caller.shots(job.name)} == {f"workers/{worker.id}"}
            assert [assign.lease.attempt for assign in taken] == [1]


@contextmanager
def silent_worker(channel: grpc.Channel) -> Iterator[list[session_pb.Assign]]:
    """A worker that says it is ready, takes what it is given, and is never heard of again."""
    requests: queue.SimpleQueue[session_pb.SessionRequest | None] = queue.SimpleQueue()
    about = Worker(name="workers/silent", hostname="h", pid=1)
    requests.put(session_pb.SessionRequest(hello=session_pb.Hello(worker=about)))
    about.models.append(Model(name="tiny", width_px=64, height_px=64, frame_count=3, step_count=2))
    requests.put(session_pb.SessionRequest(ready=session_pb.Ready(worker=about)))
    stub = session_pb_grpc.SessionServiceStub(channel)
    call = stub.Session(iter(requests.get, None))
    taken: list[session_pb.Assign] = []

    def read() -> None:
        with suppress(grpc.RpcError):
            taken.extend(r.assign for r in call if r.WhichOneof("message") == "assign")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield taken
    finally:
        call.cancel()
        requests.put(None)
        reader.join()


def test_the_farm_goes_on_after_a_full_disk(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", lease_s=1.0) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        database = gateway._store.database
        with running_worker(str(gateway.address), tmp_path, step_s=0.05):
            job = caller.create(*(caller.shot(f"s{n}", step_count=10) for n in range(3)))
            eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
            fill(database, job.name.removeprefix("jobs/"))
            with pytest.raises(grpc.RpcError) as refused:
                caller.create(caller.shot())
            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            # A free worker makes the dispatcher meet the error, the other one its report.
            with running_worker(str(gateway.address), tmp_path) as free:
                eventually(lambda: f"workers/{free.id}" in [w.name for w in caller.workers()])
                threading.Event().wait(2)
                limit_pages(database, 2**30)
                assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED


def fill(database: Database, job_id: str) -> None:
    """Leaves no room for another line of the change log, as a full disk does."""
    pages = database.submit(lambda conn: conn.exec_driver_sql("PRAGMA page_count").scalar_one())
    limit_pages(database, pages.result())
    for count in (1000, 100, 10, 1):
        full = False
        while not full:
            lines = database.submit(
                lambda conn, n=count: [record_change(conn, job_id, None) for _ in range(n)]
            )
            full = is_disk_full(lines.exception())


def limit_pages(database: Database, pages: int) -> None:
    database.submit(
        lambda conn: conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar_one()
    ).result()
