"""What surrounds the services: health, reflection, HTTP, a clean stop."""

from __future__ import annotations

import stat
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from farm.gateway.config import ConfigInvalid, GatewayConfig
from farm.gateway.server import Gateway
from farm.jobs.token_text import TokenText
from svdfarm.v1 import render_service_pb2 as pb
from tests.running import LOOPBACK, running_gateway
from tests.unit.gateway.conftest import Caller


def test_reflection_lists_the_services(gateway: Gateway, caller: Caller) -> None:
    services = ProtoReflectionDescriptorDatabase(caller.channel).get_services()
    assert set(services) > {
        "svdfarm.v1.RenderService",
        "svdfarm.v1.WorkerService",
        "svdfarm.v1.SessionService",
        "grpc.health.v1.Health",
    }


def test_every_service_is_healthy(gateway: Gateway, caller: Caller) -> None:
    stub = health_pb2_grpc.HealthStub(caller.channel)
    for service in ("", "svdfarm.v1.RenderService", "svdfarm.v1.SessionService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_healthz_answers(gateway: Gateway) -> None:
    with urllib.request.urlopen(f"http://{gateway.http}/healthz", timeout=10) as answer:
        assert (answer.status, answer.read()) == (200, b"ok\n")


def test_a_stopping_gateway_ends_its_watches(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data") as gateway:
        channel = grpc.insecure_channel(str(gateway.address))
        caller = Caller(channel)
        job = caller.create(caller.shot())
        stream = caller.render.WatchJob(pb.WatchJobRequest(name=job.name), timeout=60)
        assert next(stream).job.name == job.name
    codes = []
    try:
        list(stream)
    except grpc.RpcError as error:
        codes.append(error.code())
    channel.close()
    assert codes == [grpc.StatusCode.UNAVAILABLE]


@pytest.mark.parametrize("setting", ["token", "worker_token"])
def test_a_token_of_the_table_is_not_taken_for_the_farms_own(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigInvalid, match="that `farm token create` made"):
        GatewayConfig(LOOPBACK, LOOPBACK, tmp_path, **{setting: str(TokenText.make())})  # type: ignore[arg-type]


def test_a_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data"):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
