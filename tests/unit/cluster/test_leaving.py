"""Workers that are told to leave by their own machine; no Ray."""

from __future__ import annotations

import threading
from pathlib import Path

import grpc
import pytest

from farm.cluster import leaving
from farm.cluster.demand import DemandWatch
from farm.jobs.demand import Demand
from svdfarm import Client, WorkerState
from svdfarm.v1.resources_pb2 import Shot
from svdfarm.v1.session_service_pb2 import GetDemandRequest
from tests.running import eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller

REQUEST = GetDemandRequest(model="tiny", group="one", shot_limit=4)


def test_a_worker_that_leaves_ends_its_shot_and_is_wanted_no_more(tmp_path: Path) -> None:
    """Were it counted as withdrawn, as one that an operator drains, a Pod too many would start."""
    with (
        running_gateway(tmp_path / "data") as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
        Client(str(gateway.address)) as client,
        running_worker(str(gateway.address), tmp_path, group="one", step_s=0.02),
    ):
        caller = Caller(channel)
        job = caller.create(caller.shot("one", step_count=60), caller.shot("two", step_count=60))
        eventually(lambda: caller.shots(job.name)[0].state == Shot.RENDERING)
        assert leaving.leave(30, tmp_path) == []
        first, second = caller.shots(job.name)
        assert (first.state, second.state) == (Shot.SUCCEEDED, Shot.QUEUED)
        (worker,) = client.workers()
        assert worker.state is WorkerState.DRAINING
        watch = DemandWatch(str(gateway.address), None, REQUEST)
        try:
            eventually(lambda: watch.latest == Demand(queued_shot_count=1))
        finally:
            watch.stop()


def test_what_takes_longer_is_handed_back_and_costs_no_attempt(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data") as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
        running_worker(str(gateway.address), tmp_path, step_s=0.1) as worker,
    ):
        caller = Caller(channel)
        job = caller.create(caller.shot(step_count=200))
        eventually(lambda: caller.shots(job.name)[0].state == Shot.RENDERING)
        assert leaving.leave(0.2, tmp_path) == []
        eventually(lambda: caller.shots(job.name)[0].state == Shot.QUEUED)
        assert worker.alive  # its Serve must not put another in its place


def test_one_that_does_not_leave_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "_GRACE_S", 0.2)
    monkeypatch.setattr(leaving, "watch", lambda *_: None)
    with running_gateway(tmp_path / "data") as gateway:
        with running_worker(str(gateway.address), tmp_path):
            (name,) = leaving.leave(0.1, tmp_path)
        assert name.startswith("svdfarm-worker-")


def test_where_no_worker_is_nobody_has_to_leave(tmp_path: Path) -> None:
    (tmp_path / "svdfarm-worker-0-killed").mkdir()  # of a process that is no more
    assert leaving.leave(30, tmp_path) == []


def test_a_stopped_worker_watches_no_more(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with (
        running_gateway(tmp_path / "data") as gateway,
        running_worker(str(gateway.address), tmp_path),
    ):
        pass
    assert {t for t in threading.enumerate() if t.name == "watch_for_end"} <= before
