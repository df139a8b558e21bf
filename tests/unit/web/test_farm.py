"""The web side's own calls of the farm."""

from __future__ import annotations

from contextlib import ExitStack

import grpc
import httpx2

from farm.gateway.server import Gateway
from tests.unit.gateway.conftest import Caller

WATCHES = 100  # as many as one connection to the farm carries


def test_what_lasts_keeps_nobody_from_an_answer(gateway: Gateway) -> None:
    with ExitStack() as stack:
        channel = stack.enter_context(grpc.insecure_channel(str(gateway.address)))
        caller = Caller(channel)
        shot = caller.shot()
        jobs = [caller.create(shot) for _ in range(WATCHES)]
        pool = httpx2.Limits(max_connections=WATCHES + 1)
        http = stack.enter_context(
            httpx2.Client(base_url=f"http://{gateway.http}", timeout=20, limits=pool)
        )
        answers = [stack.enter_context(http.stream("GET", f"/live/{job.name}")) for job in jobs]
        watching = [answer.iter_lines() for answer in answers]  # each ends with its iterator
        for lines in watching:
            assert any(line.startswith("data:") for line in lines)
        assert len(http.get("/v1/videos", params={"limit": "3"}).json()["data"]) == 3
