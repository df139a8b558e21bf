"""Ends with 0 if the gateway at FARM_ADDRESS says that it serves."""

import os

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

REQUEST = health_pb2.HealthCheckRequest(service="svdfarm.v1.RenderService")

with grpc.insecure_channel(os.environ["FARM_ADDRESS"]) as channel:
    check = HealthStub(channel).Check  # type: ignore[attr-defined] # its stubs lack it
    answer = check(REQUEST, timeout=30, wait_for_ready=True)
if answer.status != health_pb2.HealthCheckResponse.SERVING:
    raise SystemExit(f"the gateway does not serve: {answer}")
print("the gateway serves")
