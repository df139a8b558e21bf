"""What many shots and many watchers cost the gateway.

    python benchmarks/bench_scale.py --out benchmarks/results/scale.json

A job of 10,000 shots is submitted and listed in pages of 100. Then 1,000 streams watch a job in
which nothing happens, while another one renders; their lag is measured twice: what a call on a
connection of its own waits for (lag_call), and how long after a cancel each watcher knows of it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import grpc
import rig

from farm.jobs.params import TINY
from svdfarm import Client, RenderParams
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1 import render_service_pb2_grpc as rpc_grpc
from svdfarm.v1 import resources_pb2 as pb

SMALL = RenderParams(model=TINY.name, width_px=64, height_px=64, frame_count=7, step_count=20)
PAGE_SIZE = 100
STREAMS_PER_CONNECTION = 100
WATCHED_S = 20.0


def main() -> int:
    """Returns the exit code."""
    parser = rig.parser(__doc__)
    parser.add_argument("--shots", type=int, default=10_000)
    parser.add_argument("--watchers", type=int, default=1_000)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="bench-scale-") as folder,
        rig.gateway(Path(folder) / "data", options.database) as gateway,
        Client(gateway.address) as client,
    ):
        started = time.perf_counter()
        large = client.submit([rig.IMAGE] * options.shots, params=SMALL)
        submit_s = time.perf_counter() - started
        pages_ms = asyncio.run(_list(gateway.address, large.name))
        large.cancel()
        large.wait(timeout_s=60)
        figures = {
            "shots": options.shots,
            "submit_s": round(submit_s, 2),
            **rig.spread("page", pages_ms, "ms"),
            "peak_memory_mb": gateway.memory_mb(),
        }
        idle = client.submit(rig.IMAGE, params=RenderParams(model="svd-xt"))
        busy = client.submit([rig.IMAGE] * 500, params=SMALL)
        before_mb = gateway.memory_mb("VmRSS")
        with rig.worker(gateway.address, 0.005):
            watched = asyncio.run(_watch(gateway.address, idle.name, options.watchers))
        figures |= {"watchers": options.watchers, **watched}
        figures["watchers_memory_mb"] = gateway.memory_mb() - before_mb
        busy.cancel()
        busy.wait(timeout_s=60)
    rig.publish(options, load, figures)
    return 0


async def _list(address: str, job: str) -> list[float]:
    """How long each page took, milliseconds."""
    took_ms = []
    async with grpc.aio.insecure_channel(address) as channel:
        render = rpc_grpc.RenderServiceStub(channel)
        request = rpc.ListShotsRequest(parent=job, page_size=PAGE_SIZE)
        while True:
            started = time.perf_counter()
            page = await render.ListShots(request)
            took_ms.append((time.perf_counter() - started) * 1e3)
            if not page.next_page_token:
                return took_ms
            request.page_token = page.next_page_token


async def _watch(address: str, job: str, watcher_count: int) -> dict[str, float]:
    # Options that differ keep the channels from sharing one connection.
    channels = [
        grpc.aio.insecure_channel(address, options=[("bench.connection", number)])
        for number in range(-(-watcher_count // STREAMS_PER_CONNECTION) + 1)
    ]
    own = rpc_grpc.RenderServiceStub(channels.pop())
    told: list[float] = []
    begun = asyncio.Semaphore(0)

    async def follow(number: int) -> None:
        stub = rpc_grpc.RenderServiceStub(channels[number % len(channels)])
        first = True
        async for event in stub.WatchJob(rpc.WatchJobRequest(name=job)):
            if first:
                begun.release()
                first = False
            if event.job.state == pb.Job.CANCELLED:
                told.append(time.perf_counter())

    watchers = [asyncio.create_task(follow(number)) for number in range(watcher_count)]
    for _ in watchers:
        await asyncio.wait_for(begun.acquire(), 60)
    lags = []
    end = time.perf_counter() + WATCHED_S
    while time.perf_counter() < end:
        started = time.perf_counter()
        await own.GetJob(rpc.GetJobRequest(name=job))
        lags.append(time.perf_counter() - started)
        await asyncio.sleep(0.02)
    cancelled = time.perf_counter()
    await own.CancelJob(rpc.CancelJobRequest(name=job))
    await asyncio.wait_for(asyncio.gather(*watchers), 60)
    assert len(told) == watcher_count
    for channel in channels:
        await channel.close()
    return {
        **rig.spread("lag_call", lags),
        **rig.spread("lag_cancel", [t - cancelled for t in told]),
    }


if __name__ == "__main__":
    sys.exit(main())
