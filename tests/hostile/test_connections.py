from __future__ import annotations

import grpc
import pytest

from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc as pb_grpc
from tests.hostile.connections import ATTACKS, attacked
from tests.hostile.gateway import RealGateway

# 200 streams, each with what the gateway has read ahead and what gRPC keeps of it.
MEMORY_LIMIT_BYTES = 200 * 4 * 2**20
HONEST_CALLS = 50


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_honest_client_is_answered_meanwhile(own_gateway: RealGateway, attack: str) -> None:
    before = own_gateway.memory_bytes()
    with attacked(attack, own_gateway.address, own_gateway.http):
        with grpc.insecure_channel(own_gateway.address) as channel:
            farm = pb_grpc.RenderServiceStub(channel)
            for _ in range(HONEST_CALLS):
                farm.ListJobs(pb.ListJobsRequest(), timeout=10)
        assert own_gateway.memory_bytes() - before < MEMORY_LIMIT_BYTES

    with grpc.insecure_channel(own_gateway.address) as channel:
        pb_grpc.RenderServiceStub(channel).ListJobs(pb.ListJobsRequest(), timeout=10)
