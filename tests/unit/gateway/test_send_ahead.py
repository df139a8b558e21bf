"""The shot that is sent ahead, from claim to end; everything but the GPU is real."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from farm.gateway.server import Gateway
from farm.jobs.params import TINY, RenderParams
from farm.render.fake import FakeRenderer
from farm.render.renderer import OnStep, Rendered
from farm.store import cordons, schema
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Job, Shot, Worker
from svdfarm.v1.worker_service_pb2 import DrainWorkerRequest
from tests.running import eventually, running_worker
from tests.unit.gateway.conftest import Caller

STEPS = 10


class Stepping(FakeRenderer):
    """A device that stops after the steps that are named, until it is told to go on."""

    def __init__(self, *stops: int) -> None:
        super().__init__()
        self.stops = set(stops)
        self.at = 0
        self.rendered: list[int] = []  # seeds, as they begin
        self.go_on = threading.Event()

    def render(
        self,
        image: bytes,
        params: RenderParams,
        on_step: OnStep | None = None,
        *args: Any,
        **kw: Any,
    ) -> Rendered:
        assert on_step is not None
        tell = on_step
        self.rendered.append(params.seed or 0)

        def stop(step: int, step_count: int) -> None:
            tell(step, step_count)
            self.at = step
            if step in self.stops:
                assert self.go_on.wait(30)

        return super().render(image, params, stop, *args, **kw)


@pytest.fixture
def job(caller: Caller) -> Job:
    """Two shots of one worker: the first renders while the second is sent ahead."""
    return caller.create(*(caller.shot(f"s{n}", step_count=STEPS, seed=n) for n in (1, 2)))


def states(caller: Caller, job: Job) -> list[str]:
    return [Shot.State.Name(shot.state) for shot in caller.shots(job.name)]


def charged(gateway: Gateway, job: Job) -> list[int]:
    shot = schema.shot
    query = select(shot.c.charged_attempt_count).order_by(shot.c.number)
    query = query.where(shot.c.job_id == job.name.removeprefix("jobs/"))
    read = gateway._store.database.submit(lambda conn: conn.execute(query).scalars().all())
    return list(read.result())


def both_are_there(caller: Caller, job: Job) -> Callable[[], bool]:
    return lambda: states(caller, job) == ["RENDERING", "RENDERING"]


def test_the_next_shot_is_there_before_the_device_is_done_but_not_long_before(
    gateway: Gateway, caller: Caller, tmp_path: Path, job: Job
) -> None:
    early, late = Stepping(7), Stepping(8)
    with running_worker(str(gateway.address), tmp_path, renderer=early):
        eventually(lambda: early.at == 7)
        eventually(lambda: caller.shots(job.name)[0].progress.step == 7)
        assert states(caller, job) == ["RENDERING", "QUEUED"]
        early.go_on.set()
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    again = caller.create(*(caller.shot(step_count=STEPS) for _ in range(3)))
    with running_worker(str(gateway.address), tmp_path, renderer=late):
        eventually(lambda: late.at == 8)
        eventually(lambda: states(caller, again) == ["RENDERING", "RENDERING", "QUEUED"])
        (worker,) = (w for w in caller.workers() if w.state == Worker.ACTIVE)
        assert worker.shot == caller.shots(again.name)[0].name
        late.go_on.set()
        assert caller.watch(again.name)[-1].job.state == Job.SUCCEEDED
    assert [shot.attempt_count for shot in caller.shots(again.name)] == [1, 1, 1]


@pytest.mark.parametrize("generous", [False, True])
def test_a_device_renders_on_while_a_clip_is_written(
    gateway: Gateway,
    caller: Caller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    generous: bool,
) -> None:
    """One clip is written, one waits for that, one is rendered: no more, as frames are large."""
    device, write = Stepping(), Rendered.write
    may_write = threading.Event()

    def wait(self: Rendered, path: Path) -> Any:
        assert may_write.wait(30)
        return write(self, path)

    monkeypatch.setattr(Rendered, "write", wait)
    if generous:
        monkeypatch.setattr("farm.gateway.workers._MAX_LEASES", 9)
    job = caller.create(*(caller.shot(step_count=STEPS, seed=n) for n in range(1, 7)))
    with running_worker(str(gateway.address), tmp_path, renderer=device):
        eventually(lambda: caller.shots(job.name)[2].progress.step == STEPS)
        threading.Event().wait(0.3)
        assert device.rendered == [1, 2, 3]
        there = 4 if generous else 3
        assert states(caller, job) == ["RENDERING"] * there + ["QUEUED"] * (6 - there)
        may_write.set()
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    assert device.rendered == [1, 2, 3, 4, 5, 6]


def test_a_shot_sent_ahead_is_cancelled_at_once(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    device = Stepping(8)
    first = caller.create(caller.shot(step_count=STEPS, seed=1))
    ahead = caller.create(caller.shot(step_count=STEPS, seed=2))
    with running_worker(str(gateway.address), tmp_path, renderer=device):
        eventually(lambda: states(caller, ahead) == ["RENDERING"])
        caller.render.CancelJob(pb.CancelJobRequest(name=ahead.name))
        assert caller.watch(ahead.name)[-1].job.state == Job.CANCELLED
        after = caller.create(caller.shot(step_count=STEPS, seed=3))
        eventually(lambda: states(caller, after) == ["RENDERING"])
        device.go_on.set()
        assert caller.watch(first.name)[-1].job.state == Job.SUCCEEDED
        assert caller.watch(after.name)[-1].job.state == Job.SUCCEEDED
    assert device.rendered == [1, 3]


def test_of_one_job_the_shot_sent_ahead_is_cancelled_alone(
    gateway: Gateway, caller: Caller, tmp_path: Path, job: Job
) -> None:
    device = Stepping(8)
    with running_worker(str(gateway.address), tmp_path, renderer=device):
        eventually(both_are_there(caller, job))
        shots = [f"{job.name}/shots/2"]
        caller.render.CancelJob(pb.CancelJobRequest(name=job.name, shots=shots))
        eventually(lambda: states(caller, job) == ["RENDERING", "CANCELLED"])
        device.go_on.set()
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    assert device.rendered == [1]


def test_a_shot_sent_ahead_comes_back_when_its_job_is_paused(
    gateway: Gateway, caller: Caller, tmp_path: Path, job: Job
) -> None:
    device = Stepping(8)
    with running_worker(str(gateway.address), tmp_path, renderer=device):
        eventually(both_are_there(caller, job))
        caller.render.PauseJob(pb.PauseJobRequest(name=job.name))
        eventually(lambda: states(caller, job) == ["RENDERING", "QUEUED"])
        device.go_on.set()
        eventually(lambda: states(caller, job) == ["SUCCEEDED", "QUEUED"])
        assert charged(gateway, job) == [1, 0]
        caller.render.ResumeJob(pb.ResumeJobRequest(name=job.name))
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED


def test_a_drained_worker_gives_back_what_was_sent_ahead(
    gateway: Gateway, caller: Caller, tmp_path: Path, job: Job
) -> None:
    device = Stepping(8)
    with running_worker(str(gateway.address), tmp_path, renderer=device) as worker:
        eventually(both_are_there(caller, job))
        caller.worker.DrainWorker(DrainWorkerRequest(name=f"workers/{worker.id}"))
        eventually(lambda: states(caller, job) == ["RENDERING", "QUEUED"])
        assert charged(gateway, job) == [1, 0]
        device.go_on.set()
        eventually(lambda: states(caller, job) == ["SUCCEEDED", "QUEUED"])
    assert device.rendered == [1]


def test_a_cordoned_worker_gives_back_what_was_sent_ahead(
    gateway: Gateway, caller: Caller, tmp_path: Path, job: Job
) -> None:
    device = Stepping(8)
    with running_worker(str(gateway.address), tmp_path, renderer=device) as worker:
        eventually(both_are_there(caller, job))
        gateway._store.database.submit(cordons.cordon, worker.id, "SHOTS_FAILED", "bad").result()
        eventually(lambda: states(caller, job) == ["RENDERING", "QUEUED"])
        device.go_on.set()
        eventually(lambda: states(caller, job) == ["SUCCEEDED", "QUEUED"])


def test_a_worker_that_dies_is_charged_for_what_it_began(
    gateway: Gateway, caller: Caller, tmp_path: Path, job: Job
) -> None:
    device = Stepping(8)
    with running_worker(str(gateway.address), tmp_path, renderer=device) as worker:
        eventually(both_are_there(caller, job))
        session = worker._session
        assert session is not None
        worker._stopped.set()  # as dead: it dials no more
        session.close()
        eventually(lambda: states(caller, job) == ["QUEUED", "QUEUED"])
        assert charged(gateway, job) == [1, 0]
        device.go_on.set()


def test_a_worker_is_given_the_shape_that_it_rendered_last(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    device = Stepping()
    wide, tall = {"width_px": 88, "height_px": 56}, {"width_px": 56, "height_px": 88}
    shapes = [tall, wide, wide, wide, wide, wide, wide, tall]
    shots = [
        caller.shot(step_count=2, seed=seed, **shape) for seed, shape in enumerate(shapes, start=1)
    ]
    job = caller.create(*shots)
    with running_worker(str(gateway.address), tmp_path, renderer=device):
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
    assert device.rendered == [1, 8, 2, 3, 4, 5, 6, 7]


def test_workers_that_are_served_one_after_the_other_all_get_their_shots(
    gateway: Gateway, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.dispatch._AT_ONCE", 1)
    address, devices = str(gateway.address), [Stepping(1), Stepping(1)]
    other = dataclasses.replace(TINY, name="other")
    with (
        running_worker(address, tmp_path, model=other),
        running_worker(address, tmp_path, renderer=devices[0]),
        running_worker(address, tmp_path, renderer=devices[1]),
    ):
        eventually(lambda: [w.state for w in caller.workers()] == [Worker.ACTIVE] * 3)
        job = caller.create(caller.shot("a"), caller.shot("b"))
        eventually(lambda: [device.at for device in devices] == [1, 1])
        for device in devices:
            device.go_on.set()
        assert caller.watch(job.name)[-1].job.state == Job.SUCCEEDED
