"""Ends with 0 if the gateway at FARM_ADDRESS says that it serves."""

import os

from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from svdfarm.target import Target
from svdfarm.tls import Tls

TARGET = Target.read(os.environ["FARM_ADDRESS"], tls=Tls(os.environ.get("FARM_TLS_CA")))
REQUEST = health_pb2.HealthCheckRequest(service="svdfarm.v1.RenderService")

with TARGET.channel([]) as channel:
    check = HealthStub(channel).Check  # type: ignore[attr-defined] # its stubs lack it
    answer = check(REQUEST, timeout=30, wait_for_ready=True)
if answer.status != health_pb2.HealthCheckResponse.SERVING:
    raise SystemExit(f"the gateway does not serve: {answer}")
print("the gateway serves")
