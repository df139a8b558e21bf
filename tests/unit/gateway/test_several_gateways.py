"""Several gateways on one PostgreSQL and one data folder; only the GPU is fake."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from sqlalchemy import URL

from farm.gateway.server import Gateway
from farm.jobs.params import RenderParams
from farm.render.errors import ClipNotFinite
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered
from farm.store import workers
from farm.store.workers import Session
from svdfarm.v1 import session_service_pb2 as session_pb
from svdfarm.v1 import session_service_pb2_grpc as session_pb_grpc
from svdfarm.v1.render_service_pb2 import (
    CancelJobRequest,
    PauseJobRequest,
    ResumeJobRequest,
    WatchJobRequest,
)
from svdfarm.v1.resources_pb2 import Job, Model, Shot, Worker
from svdfarm.v1.worker_service_pb2 import DrainWorkerRequest
from tests.postgres import PostgresServer
from tests.running import eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[URL]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def pair(url: URL, tmp_path: Path) -> Iterator[tuple[Gateway, Gateway]]:
    data = tmp_path / "data"
    with (
        running_gateway(data, database=url) as first,
        running_gateway(data, database=url) as second,
    ):
        yield first, second


@pytest.fixture
def callers(pair: tuple[Gateway, Gateway]) -> Iterator[list[Caller]]:
    with ExitStack() as channels:
        yield [Caller(channels.enter_context(grpc.insecure_channel(str(g.address)))) for g in pair]


def test_a_job_of_one_gateway_is_rendered_and_watched_at_another(
    pair: tuple[Gateway, Gateway], callers: list[Caller], tmp_path: Path
) -> None:
    job = callers[0].create(callers[0].shot("a"), callers[0].shot("b"))
    watch = callers[0].render.WatchJob(WatchJobRequest(name=job.name), timeout=60)
    assert next(watch).job.name == job.name
    with running_worker(str(pair[1].address), tmp_path):
        assert list(watch)[-1].job.state == Job.SUCCEEDED
        told_s = time.time()
    ended_s = callers[1].job(job.name).end_time.ToMicroseconds() / 1e6
    assert told_s - ended_s < 2
    videos = [shot.video.name for shot in callers[0].shots(job.name)]
    for name in videos:
        assert callers[0].download(name) == callers[1].download(name) != b""


def test_a_cancel_at_one_gateway_reaches_a_worker_at_another(
    pair: tuple[Gateway, Gateway], callers: list[Caller], tmp_path: Path
) -> None:
    job = callers[0].create(callers[0].shot("a", step_count=200))
    with running_worker(str(pair[1].address), tmp_path, step_s=0.1):
        eventually(lambda: callers[0].shots(job.name)[0].state == Shot.RENDERING)
        callers[0].render.CancelJob(CancelJobRequest(name=job.name))
        eventually(lambda: callers[0].job(job.name).state == Job.CANCELLED, timeout_s=5)
        again = callers[0].create(callers[0].shot("b"))
        assert callers[1].watch(again.name)[-1].job.state == Job.SUCCEEDED


def test_a_cancel_of_one_shot_reaches_a_worker_at_another_gateway(
    pair: tuple[Gateway, Gateway], callers: list[Caller], tmp_path: Path
) -> None:
    job = callers[0].create(callers[0].shot("a", step_count=200), callers[0].shot("b"))
    with running_worker(str(pair[1].address), tmp_path, step_s=0.1):
        eventually(lambda: callers[0].shots(job.name)[0].state == Shot.RENDERING)
        request = CancelJobRequest(name=job.name, shots=[f"{job.name}/shots/1"])
        callers[0].render.CancelJob(request)
        assert callers[0].watch(job.name)[-1].job.state == Job.SUCCEEDED
    assert [s.state for s in callers[1].shots(job.name)] == [Shot.CANCELLED, Shot.SUCCEEDED]


def test_a_pause_at_one_gateway_holds_at_the_other(
    pair: tuple[Gateway, Gateway], callers: list[Caller], tmp_path: Path
) -> None:
    job = callers[0].create(callers[0].shot("a"))
    callers[0].render.PauseJob(PauseJobRequest(name=job.name))
    with running_worker(str(pair[1].address), tmp_path):
        other = callers[1].create(callers[1].shot("b"))
        assert callers[1].watch(other.name)[-1].job.state == Job.SUCCEEDED
        assert callers[1].job(job.name).state == Job.PAUSED
        assert callers[1].shots(job.name)[0].attempt_count == 0
        callers[0].render.ResumeJob(ResumeJobRequest(name=job.name))
        assert callers[1].watch(job.name)[-1].job.state == Job.SUCCEEDED


def test_workers_are_listed_and_drained_at_any_gateway(
    pair: tuple[Gateway, Gateway], callers: list[Caller], tmp_path: Path
) -> None:
    job = callers[0].create(callers[0].shot("a", step_count=40), callers[0].shot("b"))
    assert "tiny" in callers[0].job(job.name).notice
    with running_worker(str(pair[1].address), tmp_path, step_s=0.05) as worker:
        eventually(lambda: callers[0].shots(job.name)[0].state == Shot.RENDERING)
        (seen,) = callers[0].workers()
        assert (seen.name, seen.state) == (f"workers/{worker.id}", Worker.ACTIVE)
        assert seen.shot == callers[0].shots(job.name)[0].name
        assert callers[0].job(job.name).notice == ""
        drained = callers[0].worker.DrainWorker(DrainWorkerRequest(name=seen.name))
        assert drained.state == Worker.DRAINING
        eventually(lambda: callers[0].shots(job.name)[0].state == Shot.SUCCEEDED)
        with running_worker(str(pair[0].address), tmp_path) as other:
            assert callers[0].watch(job.name)[-1].job.state == Job.SUCCEEDED
        assert callers[1].shots(job.name)[1].worker == f"workers/{other.id}"
    eventually(lambda: callers[0].workers() == [])


def test_a_worker_of_another_gateway_is_preferred_to_the_one_that_failed(
    pair: tuple[Gateway, Gateway], callers: list[Caller], tmp_path: Path
) -> None:
    class Broken(FakeRenderer):
        def render(self, image: bytes, params: RenderParams, *_: object, **__: object) -> Rendered:
            raise ClipNotFinite("NaN")

    with (
        running_worker(str(pair[0].address), tmp_path, renderer=Broken()) as bad,
        running_worker(str(pair[1].address), tmp_path, step_s=0.1) as good,
    ):
        eventually(lambda: [w.state for w in callers[0].workers()] == [Worker.ACTIVE] * 2)
        busy = callers[1].create(callers[1].shot("busy", step_count=20))
        jobs = [callers[0].create(callers[0].shot(f"s{n}")) for n in range(3)]
        for job in (busy, *jobs):
            assert callers[0].watch(job.name)[-1].job.state == Job.SUCCEEDED
            (shot,) = callers[0].shots(job.name)
            assert shot.worker == f"workers/{good.id}"
            assert shot.attempt_count <= 2
        assert f"workers/{bad.id}" in [w.name for w in callers[1].workers()]


def test_workers_of_a_gateway_that_died_are_told_as_lost(url: URL, tmp_path: Path) -> None:
    data = tmp_path / "data"
    about = Worker(name="workers/orphan", hostname="h", pid=1)
    orphan = Session("orphan", "s", "dead", about.SerializeToString(), frozenset(), "ACTIVE", 1.0)
    with (
        running_gateway(data, database=url, lease_s=0.6) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        store = gateway._store
        store.database.submit(workers.join, orphan, store.clock.steady_s()).result()
        caller = Caller(channel)
        assert [w.state for w in caller.workers()] == [Worker.ACTIVE]
        eventually(lambda: [w.error.reason for w in caller.workers()] == ["WORKER_LOST"])
        assert caller.workers()[0].state == Worker.FAILED
        eventually(lambda: caller.workers() == [])


def test_a_worker_that_comes_back_to_another_gateway_keeps_its_shot(
    pair: tuple[Gateway, Gateway], callers: list[Caller]
) -> None:
    job = callers[0].create(callers[0].shot("a"))
    with session(callers[0].channel) as responses:
        assign = next(r.assign for r in responses if r.WhichOneof("message") == "assign")
    with session(callers[1].channel, assign.lease) as responses:
        next(responses)  # the welcome: it is adopted before anything else is sent
        eventually(lambda: pair[0]._sessions._tasks)
        eventually(lambda: not pair[0]._sessions._tasks)
        (shot,) = callers[0].shots(job.name)
        assert (shot.state, shot.attempt_count) == (Shot.RENDERING, 1)
    eventually(lambda: callers[0].shots(job.name)[0].state == Shot.QUEUED, timeout_s=5)


@contextmanager
def session(
    channel: grpc.Channel, *leases: session_pb.Lease
) -> Iterator[Iterator[session_pb.SessionResponse]]:
    """A worker's session by hand: it says hello, is ready, and only listens."""
    requests: queue.SimpleQueue[session_pb.SessionRequest | None] = queue.SimpleQueue()
    about = Worker(name="workers/moving", hostname="h", pid=1)
    hello = session_pb.Hello(worker=about, leases=leases)
    requests.put(session_pb.SessionRequest(hello=hello))
    about.models.append(Model(name="tiny", width_px=64, height_px=64, frame_count=3, step_count=2))
    requests.put(session_pb.SessionRequest(ready=session_pb.Ready(worker=about)))
    call = session_pb_grpc.SessionServiceStub(channel).Session(iter(requests.get, None))
    try:
        yield call
    finally:
        call.cancel()
        requests.put(None)


def test_a_shot_survives_a_restart_of_the_database(
    pair: tuple[Gateway, Gateway], callers: list[Caller], tmp_path: Path, postgres: PostgresServer
) -> None:
    job = callers[0].create(callers[0].shot("a", step_count=30))
    with running_worker(str(pair[1].address), tmp_path, step_s=0.1):
        eventually(lambda: callers[1].shots(job.name)[0].progress.step > 0)
        postgres.stop()
        postgres.start()
        assert callers[0].watch(job.name)[-1].job.state == Job.SUCCEEDED
    (shot,) = callers[0].shots(job.name)
    assert shot.attempt_count == 1


def test_gateways_keep_their_spools_apart(
    pair: tuple[Gateway, Gateway], url: URL, tmp_path: Path
) -> None:
    spools = [gateway._store.spool for gateway in pair]
    arriving = [spool / "x.part" for spool in spools]
    for path in arriving:
        path.write_bytes(b"half a video")
    dead = tmp_path / "data" / "spool" / "dead"
    dead.mkdir()
    with running_gateway(tmp_path / "data", database=url):
        assert all(path.exists() for path in arriving)
        assert not dead.exists()
