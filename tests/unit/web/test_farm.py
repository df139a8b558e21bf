"""The web side's own calls of the farm."""

from __future__ import annotations

import grpc

from farm.gateway.server import Gateway
from farm.web.farm import Farm
from svdfarm.v1 import render_service_pb2 as pb
from tests.unit.gateway.conftest import Caller


async def test_what_lasts_keeps_nobody_from_an_answer(gateway: Gateway) -> None:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        caller = Caller(channel)
        job = caller.create(caller.shot())
    farm = Farm(str(gateway.address))
    calls = farm.calls(None)
    watches = [calls.watch(pb.WatchJobRequest(name=job.name)) for _ in range(120)]
    try:
        for watch in watches[:100]:  # as many as a connection carries
            await anext(aiter(watch))
        request = pb.ListJobsRequest()
        page = await calls.render.ListJobs(request, timeout=20)
        assert [found.name for found in page.jobs] == [job.name]
    finally:
        for watch in watches:
            watch.cancel()
        await farm.close()
