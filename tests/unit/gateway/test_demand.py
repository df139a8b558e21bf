"""What a group of workers is told to be needed for; only the GPU is fake."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import grpc
import pytest

from farm.gateway.server import Gateway
from svdfarm.v1.render_service_pb2 import PauseJobRequest
from svdfarm.v1.session_service_pb2 import Demand, GetDemandRequest
from svdfarm.v1.session_service_pb2_grpc import SessionServiceStub
from svdfarm.v1.worker_service_pb2 import DrainWorkerRequest
from tests.running import eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller, reason


def told(caller: Caller, group: str = "one", model: str = "tiny", limit: int = 10) -> Demand:
    request = GetDemandRequest(model=model, group=group, shot_limit=limit)
    return SessionServiceStub(caller.channel).GetDemand(request)


def test_shots_that_may_start_are_counted_as_far_as_they_matter(caller: Caller) -> None:
    caller.create(*(caller.shot(f"shot-{n}") for n in range(5)))
    paused = caller.create(caller.shot("paused"))
    caller.render.PauseJob(PauseJobRequest(name=paused.name))
    assert told(caller) == Demand(queued_shot_count=5)
    assert told(caller, limit=3) == Demand(queued_shot_count=3)
    assert told(caller, model="svd") == Demand()


def test_a_worker_that_holds_several_shots_is_one_worker_of_its_own_group(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    address = str(gateway.address)
    job = caller.create(*(caller.shot(f"shot-{n}", step_count=200) for n in range(2)))
    with running_worker(address, tmp_path, step_s=0.02, group="one"):
        eventually(lambda: told(caller) == Demand(queued_shot_count=1, busy_worker_count=1))
        assert told(caller, "two") == Demand(queued_shot_count=1)
        # Near the end of its shot it is sent the next one, which no other worker is needed for.
        eventually(lambda: told(caller) == Demand(busy_worker_count=1))
        assert caller.job(job.name).succeeded_shot_count == 0
        assert told(caller, "two") == Demand()


def test_who_leaves_is_not_counted_and_who_is_drained_by_an_operator_keeps_its_place(
    gateway: Gateway, caller: Caller, tmp_path: Path
) -> None:
    address = str(gateway.address)
    caller.create(*(caller.shot(f"shot-{n}", step_count=200) for n in range(3)))
    with (
        running_worker(address, tmp_path, step_s=0.1, group="one") as leaving,
        running_worker(address, tmp_path, step_s=0.1, group="one") as drained,
        running_worker(address, tmp_path, group="one", fault="a broken clip"),
    ):
        waits = Demand(queued_shot_count=1, busy_worker_count=2, withdrawn_worker_count=1)
        eventually(lambda: told(caller) == waits)
        caller.worker.DrainWorker(DrainWorkerRequest(name=f"workers/{drained.id}"))
        assert told(caller) == waits  # it ends its shot
        waits.busy_worker_count = 1
        draining = threading.Thread(target=leaving.drain, args=[1.5])
        draining.start()
        eventually(lambda: told(caller) == waits)
        draining.join()


def test_a_farm_that_starts_nothing_needs_no_more_workers(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    data, everything = tmp_path / "data", disk.f_blocks * disk.f_frsize
    with (
        running_gateway(data) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        caller = Caller(channel)
        caller.create(caller.shot())
        assert told(caller) == Demand(queued_shot_count=1)
    with (
        running_gateway(data, disk_reserve_bytes=everything) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        assert told(Caller(channel)) == Demand()


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("model", GetDemandRequest(group="one", shot_limit=1)),
        ("group", GetDemandRequest(model="tiny", shot_limit=1)),
        ("shot_limit", GetDemandRequest(model="tiny", group="one")),
    ],
)
def test_a_question_with_a_gap_is_refused(
    caller: Caller, field: str, request_: GetDemandRequest
) -> None:
    with pytest.raises(grpc.RpcError, match=field) as refused:
        SessionServiceStub(caller.channel).GetDemand(request_)
    assert reason(refused.value) == "INVALID_FIELD"


def test_demand_is_told_to_who_has_the_token_alone(tmp_path: Path) -> None:
    token = "a-token-of-this-test"
    with (
        running_gateway(tmp_path / "data", token=token) as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
    ):
        request = GetDemandRequest(model="tiny", group="one", shot_limit=1)
        stub = SessionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetDemand(request)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        bearer = (("authorization", f"Bearer {token}"),)
        assert stub.GetDemand(request, metadata=bearer) == Demand()
