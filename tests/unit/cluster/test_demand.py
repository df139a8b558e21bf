"""A policy's view of its gateway; no Ray."""

from __future__ import annotations

import threading
from pathlib import Path

import grpc

from farm.cluster.demand import DemandWatch
from farm.gateway.config import Address
from farm.jobs.demand import Demand
from svdfarm.v1.session_service_pb2 import GetDemandRequest
from tests.running import eventually, free_port, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller

TOKEN = "a-token-of-this-test"
REQUEST = GetDemandRequest(model="tiny", group="one", shot_limit=4)


def test_demand_is_unknown_while_the_gateway_is_away(tmp_path: Path) -> None:
    address = Address("127.0.0.1", free_port())
    watch = DemandWatch(str(address), TOKEN, REQUEST)
    try:
        assert watch.latest is None
        for _ in range(2):
            with running_gateway(tmp_path / "data", address=address, token=TOKEN):
                eventually(lambda: watch.latest == Demand())
            eventually(lambda: watch.latest is None)
    finally:
        watch.stop()


def test_a_wrong_token_leaves_demand_unknown(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", token=TOKEN) as gateway:
        right = DemandWatch(str(gateway.address), TOKEN, REQUEST)
        wrong = DemandWatch(str(gateway.address), "another-token-of-this", REQUEST)
        try:
            eventually(lambda: right.latest == Demand())
            assert wrong.latest is None
        finally:
            right.stop()
            wrong.stop()


def test_a_stopped_watch_ends_its_thread(tmp_path: Path) -> None:
    watch = DemandWatch(f"127.0.0.1:{free_port()}", None, REQUEST)
    (thread,) = (t for t in threading.enumerate() if t.name == "demand" and t.is_alive())
    watch.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_every_count_comes_across(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data") as gateway,
        grpc.insecure_channel(str(gateway.address)) as channel,
        running_worker(str(gateway.address), tmp_path, group="one", step_s=0.1),
        running_worker(str(gateway.address), tmp_path, group="one", fault="a broken clip"),
    ):
        caller = Caller(channel)
        caller.create(*(caller.shot(f"shot-{n}", step_count=200) for n in range(3)))
        watch = DemandWatch(str(gateway.address), None, REQUEST)
        try:
            eventually(lambda: watch.latest == Demand(2, 1, 1))
        finally:
            watch.stop()
