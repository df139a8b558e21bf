"""What becomes of shots whose worker fails them, and of that worker; only the GPU is fake."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import Connection, select

from farm.gateway.config import ConfigInvalid, GatewayConfig
from farm.gateway.server import Gateway
from farm.jobs.retry import MemoryProfile
from farm.render.fake import FakeRenderer
from farm.render.receipt import read_receipt
from farm.render.renderer import Rendered
from farm.store import schema
from svdfarm.v1.resources_pb2 import Job, Shot, Worker
from svdfarm.v1.worker_service_pb2 import UncordonWorkerRequest
from tests.running import LOOPBACK, eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller
from tests.unit.gateway.test_faults import silent_worker


class Hanging(FakeRenderer):
    """A device that hangs in its first step until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = threading.Event()
        self.go_on = threading.Event()

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        self.hangs.set()
        assert self.go_on.wait(30)
        return super().render(*args, **kwargs)


class Broken(FakeRenderer):
    """A device that fails every shot."""

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        raise ValueError("this card is broken")


class Small(FakeRenderer):
    """A device that has too little memory for a model that is wholly on it."""

    def __init__(self, enough: MemoryProfile) -> None:
        super().__init__()
        self.enough = enough
        self.tried: list[MemoryProfile] = []

    def render(
        self, *args: Any, memory: MemoryProfile = MemoryProfile.AS_STARTED, **kwargs: Any
    ) -> Rendered:
        self.tried.append(memory)
        if memory < self.enough:
            raise MemoryError("no room")
        return super().render(*args, memory=memory, **kwargs)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that waits one second for a step."""
    with running_gateway(tmp_path / "data", lease_s=2.0, stall_s=1.0) as gateway:
        yield gateway


@pytest.fixture
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    name = "impatient" if "impatient" in request.fixturenames else "gateway"
    with grpc.insecure_channel(str(request.getfixturevalue(name).address)) as channel:
        yield Caller(channel)


def outcomes(gateway: Gateway, job: Job) -> list[tuple[str, str | None]]:
    """Worker and outcome of each attempt of a job's first shot."""
    attempt = schema.attempt

    def read(conn: Connection) -> list[tuple[str, str | None]]:
        query = select(attempt.c.worker, attempt.c.outcome).order_by(attempt.c.number)
        query = query.where(attempt.c.job_id == job.name.removeprefix("jobs/"))
        rows = conn.execute(query.where(attempt.c.shot_number == 1))
        return [(row.worker, row.outcome) for row in rows]

    return gateway._store.database.submit(read).result()


def test_a_shot_without_progress_is_taken_back(
    impatient: Gateway, caller: Caller, tmp_path: Path
) -> None:
    hanging = Hanging()
    address = str(impatient.address)
    job = caller.create(caller.shot("a"), caller.shot("b"))
    with running_worker(address, tmp_path, renderer=hanging) as hung:
        assert hanging.hangs.wait(20)
        eventually(lambda: caller.shots(job.name)[0].state == Shot.QUEUED)
        # It is alive and idle by its leases, and given nothing before it lets go.
        threading.Event().wait(0.5)
        assert [shot.state for shot in caller.shots(job.name)] == [Shot.QUEUED] * 2
        with running_worker(address, tmp_path) as good:
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
            assert outcomes(impatient, job) == [(hung.id, "NO_PROGRESS"), (good.id, "SUCCEEDED")]
        hanging.go_on.set()  # it lets go, as it was told: that is no report that came too late
        after = caller.create(caller.shot("after"))
        assert caller.watch(after.name)[-1].job.state == Job.SUCCEEDED
        assert caller.shots(after.name)[0].worker == f"workers/{hung.id}"
        assert [w.refused_report_count for w in caller.workers()] == [0]


def test_a_slow_shot_that_goes_on_is_left_alone(
    impatient: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot("a", step_count=6))
    with running_worker(str(impatient.address), tmp_path, step_s=0.5):
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    assert caller.shots(job.name)[0].attempt_count == 1


def test_a_late_report_is_refused_and_counted(tmp_path: Path) -> None:
    class Late(FakeRenderer):
        def render(self, *args: Any, **kwargs: Any) -> Rendered:
            taken_back.wait(20)
            return super().render(*args)  # whole, whoever has cancelled it

    taken_back = threading.Event()
    with ExitStack() as farm:
        gateway = farm.enter_context(running_gateway(tmp_path / "data", lease_s=2.0, stall_s=1.0))
        caller = Caller(farm.enter_context(grpc.insecure_channel(str(gateway.address))))
        job = caller.create(caller.shot())
        late = farm.enter_context(running_worker(str(gateway.address), tmp_path, renderer=Late()))
        eventually(lambda: outcomes(gateway, job) == [(late.id, "NO_PROGRESS")])
        taken_back.set()
        eventually(lambda: [w.refused_report_count for w in caller.workers()] == [1])
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        assert outcomes(gateway, job)[-1] == (late.id, "SUCCEEDED")


def test_a_bad_worker_is_cordoned_while_a_good_one_goes_on(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    address = str(gateway.address)
    with (
        running_worker(address, tmp_path, renderer=Broken()) as bad,
        running_worker(address, tmp_path),
    ):
        eventually(lambda: [w.state for w in caller.workers()] == [Worker.ACTIVE] * 2)

        def cordoned() -> Worker | None:
            named = {worker.name: worker for worker in caller.workers()}
            worker = named[f"workers/{bad.id}"]
            return worker if worker.state == Worker.CORDONED else None

        while cordoned() is None:
            job = caller.create(*(caller.shot(f"s{n}") for n in range(4)))
            assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        found = cordoned()
        assert found is not None
        assert found.error.reason == "SHOTS_FAILED"
        job = caller.create(*(caller.shot(f"s{n}") for n in range(4)))
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
        assert {shot.attempt_count for shot in caller.shots(job.name)} == {1}
        freed = caller.worker.UncordonWorker(UncordonWorkerRequest(name=found.name))
        assert (freed.state, freed.HasField("error")) == (Worker.ACTIVE, False)


def test_a_worker_whose_canary_failed_takes_no_shot_until_it_is_let(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot())
    with running_worker(str(gateway.address), tmp_path, fault="its clips are black") as worker:
        eventually(lambda: [w.state for w in caller.workers()] == [Worker.CORDONED])
        (seen,) = caller.workers()
        assert (seen.error.reason, seen.error.message) == ("CANARY_FAILED", "its clips are black")
        assert "tiny" in caller.job(job.name).notice
        assert caller.shots(job.name)[0].attempt_count == 0
        caller.worker.UncordonWorker(UncordonWorkerRequest(name=f"workers/{worker.id}"))
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED


@pytest.mark.parametrize("enough", [MemoryProfile.OFFLOAD, MemoryProfile.SMALLEST])
def test_out_of_memory_steps_down_and_tells_it_in_the_receipt(
    gateway: Gateway, caller: Caller, tmp_path: Path, enough: MemoryProfile
) -> None:
    small = Small(enough)
    job = caller.create(caller.shot(), caller.shot("next"))
    with running_worker(str(gateway.address), tmp_path, renderer=small):
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    steps = list(MemoryProfile)[: enough + 1]
    assert sorted(small.tried) == sorted(steps * 2)
    path = tmp_path / "clip.mp4"
    path.write_bytes(caller.download(caller.shots(job.name)[0].video.name))
    receipt = read_receipt(path)
    assert receipt["environment"]["model_offload"]
    chunked = receipt["inputs"]["numerics"]["forward_chunking"]
    assert chunked is (enough is MemoryProfile.SMALLEST)


def test_a_shot_that_its_lost_worker_never_began_is_not_charged(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    job = caller.create(caller.shot())

    def charged() -> int:
        query = select(schema.shot.c.charged_attempt_count)
        return gateway._store.database.submit(lambda c: c.execute(query).scalar_one()).result()

    for n in range(1, 3):
        with silent_worker(caller.channel):
            eventually(lambda n=n: caller.shots(job.name)[0].attempt_count == n)
        eventually(lambda: caller.shots(job.name)[0].state == Shot.QUEUED)
    assert charged() == 0
    with running_worker(str(gateway.address), tmp_path, step_s=0.2) as worker:
        eventually(lambda: caller.shots(job.name)[0].progress.step > 0)
        worker.stop()
    eventually(lambda: caller.shots(job.name)[0].state == Shot.QUEUED)
    assert charged() == 1


def test_a_gateway_that_would_wait_for_no_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="stall_timeout is 0 s; allowed: from 1s"):
        GatewayConfig(LOOPBACK, LOOPBACK, tmp_path, stall_s=0)
