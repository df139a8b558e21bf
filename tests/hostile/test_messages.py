from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor

from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc as pb_grpc
from svdfarm.v1 import resources_pb2
from tests.hostile.gateway import RealGateway
from tests.hostile.messages import Requests, methods
from tests.running import IMAGES

COUNT = 20_000
AT_ONCE = 40
STREAM_S = 0.2  # watches and sessions that are let in go on until their caller ends them
UNTYPED = {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DATA_LOSS"}


async def call(channel: grpc.aio.Channel, method: MethodDescriptor, *requests: bytes) -> str:
    """The code that a call of raw bytes ends with."""
    path = f"/{method.containing_service.full_name}/{method.name}"

    async def sent() -> AsyncIterator[bytes]:
        for request in requests:
            yield request

    try:
        match method.client_streaming, method.server_streaming:
            case False, False:
                await channel.unary_unary(path)(requests[0], timeout=30)
            case True, False:
                await channel.stream_unary(path)(sent(), timeout=30)
            case False, True:
                await drain(channel.unary_stream(path)(requests[0], timeout=STREAM_S))
            case _:
                await drain(channel.stream_stream(path)(sent(), timeout=STREAM_S))
    except grpc.aio.AioRpcError as error:
        if error.details() == "Internal error from Core":  # this side's own: its time was up
            return grpc.StatusCode.DEADLINE_EXCEEDED.name
        return error.code().name
    return "OK"


async def drain(responses: Any) -> None:
    async for _ in responses:
        pass


async def real_names(address: str) -> dict[str, Sequence[str]]:
    """Names of what there is, by the fields that take them."""
    async with grpc.aio.insecure_channel(address) as channel:
        farm = pb_grpc.RenderServiceStub(channel)
        data = (IMAGES / "rocket.jpg").read_bytes()
        image = await farm.UploadImage(iter([pb.UploadImageRequest(data=data)]))
        shots = [resources_pb2.Shot(image=image.name)]
        jobs = [(await farm.CreateJob(pb.CreateJobRequest(shots=shots))).name for _ in range(20)]
    shot_names = [f"{job}/shots/1" for job in jobs]
    return {
        "name": [*jobs, *shot_names, image.name, f"{shot_names[0]}/video", *["workers/w-1"] * 20],
        "parent": [*jobs, *shot_names],
        "shots": shot_names,
        "image": [image.name],
        "model": ["", "tiny", "svd-xt"],
        "paths": ["display_name", "priority"],
        "output_name": ["", "a.mp4"],
        "display_name": ["", "a"],
        "webhook": [""],
        "request_id": ["", "4f1c2e76-8a77-4b53-9c1a-3f2f0a0f7b11"],
        "page_token": ["", "1"],
    }


async def ask_everything(address: str, count: int, seed: int) -> Counter[tuple[str, str]]:
    """How many calls ended how, by method and code."""
    ended: Counter[tuple[str, str]] = Counter()
    requests = Requests(seed, await real_names(address))
    chance = requests.chance
    every = list(methods())
    asked = itertools.count()
    # Those that wait for a time limit are a few only.
    waiting = [method for method in every if method.server_streaming]
    quick = [method for method in every if not method.server_streaming]

    async def ask() -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            while next(asked) < count:
                method = chance.choice(waiting if chance.random() < 0.1 else quick)
                sizes = chance.choice((1, 1, 3)) if method.client_streaming else 1
                made = [requests.make(method) for _ in range(sizes)]
                ended[method.name, await call(channel, method, *made)] += 1

    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return ended


async def test_every_message_is_answered_in_the_farms_own_words(own_gateway: RealGateway) -> None:
    await ask_everything(own_gateway.address, COUNT // 20, seed=1)
    with own_gateway.growing_little():
        ended = await ask_everything(own_gateway.address, COUNT, seed=2)

    assert {name for name, _ in ended} == {method.name for method in methods()}
    assert [case for case in ended if case[1] in UNTYPED] == []
    assert sum(ended.values()) >= COUNT
    async with grpc.aio.insecure_channel(own_gateway.address) as channel:
        assert await pb_grpc.RenderServiceStub(channel).ListJobs(pb.ListJobsRequest(), timeout=10)
