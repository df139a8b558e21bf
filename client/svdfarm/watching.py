"""The changes of a job as they happen, through broken streams and a farm that restarts."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator

import grpc

from svdfarm import wire
from svdfarm.connection import Connection
from svdfarm.errors import DeadlineExceeded, FarmFailed, Rejected
from svdfarm.resources import Job, Shot
from svdfarm.v1 import render_service_pb2 as rpc


async def watch(
    connection: Connection, name: str, timeout_s: float | None, *, previews: bool = False
) -> AsyncGenerator[Job | Shot, None]:
    """The job and its shots as they are, then each after every change, until the job has ended.

    After a break it goes on where it stopped, without what was told before. Raises
    DeadlineExceeded after `timeout_s`.
    """
    if timeout_s is not None and not timeout_s >= 0:
        raise Rejected(f"timeout_s is {timeout_s}; allowed: a number of seconds from 0, or None")
    if timeout_s is not None and math.isinf(timeout_s):
        timeout_s = None
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    patience = connection.patience(deadline)
    token, ended = "", False
    told: dict[str, Job | Shot] = {}  # the farm may repeat itself after a break
    with connection.streams.watch() as place:
        while not ended:
            request = rpc.WatchJobRequest(name=name, resume_token=token, previews=previews)
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            method = connection.render.WatchJob
            async with connection.stream(
                method, request, timeout_s=left_s, watch=place
            ) as responses:
                try:
                    async for response in responses:
                        patience.renew()
                        token = response.resume_token or token
                        event = _event(response)
                        if isinstance(event, Job):
                            ended = event.state.final
                        if event is not None and told.get(event.name) != event:
                            told[event.name] = event
                            yield event
                except (grpc.RpcError, FarmFailed) as error:
                    if place.gave_way:
                        await connection.let_others_go_first()
                    elif isinstance(error, FarmFailed):
                        raise
                    elif deadline is not None and _is_late(error):
                        raise DeadlineExceeded(
                            f"{name} has not ended within {timeout_s:g} s"
                        ) from error
                    elif token and error.code() is grpc.StatusCode.OUT_OF_RANGE:
                        token = ""  # too old: everything comes once more, whole
                    elif not ended:
                        await patience.bear(error)
                else:
                    if not ended:
                        stopped = FarmFailed(f"the farm stopped telling of {name}, which goes on")
                        await patience.pause(stopped)


def _is_late(error: grpc.RpcError) -> bool:
    return bool(error.code() is grpc.StatusCode.DEADLINE_EXCEEDED)


def _event(response: rpc.WatchJobResponse) -> Job | Shot | None:
    match response.WhichOneof("event"):
        case "job":
            return wire.job_from_wire(response.job)
        case "shot":
            return wire.shot_from_wire(response.shot)
        case _:  # of a later version
            return None
