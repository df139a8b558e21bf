"""Thousands of workers in one process: real sessions with a gateway, and clips that are timers.

    python -m benchmarks.farm_sim.workers ADDRESS '{"workers": 1000, "clip_s": 10, ...}'

It tells "ready" once every worker is, and its counts, as JSON, at each line that it reads.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import random
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks import rig
from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.fake import FakeRenderer
from farm.wire import model_to_wire
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import session_service_pb2 as session_pb

SETTINGS = {"width_px": 64, "height_px": 64, "frame_count": 7}
_SESSION = "/svdfarm.v1.SessionService/Session"
_DIALLING = 64  # sessions that are opened at once


@dataclass(frozen=True)
class Load:
    """What the workers do."""

    workers: int
    connections: int
    clip_s: float
    steps: int = 25
    spread: float = 0.05  # of a clip's time, either way
    every_step: bool = False  # tell each step, as workers did before they were told how often


@dataclass
class Counts:
    """What the workers did so far."""

    ready: int = 0
    shots: int = 0
    refused: int = 0
    heartbeats: int = 0
    progress: int = 0
    busy_s: float = 0.0  # of all workers
    waits: int = 0  # times that a device had nothing to do after a clip
    waited_s: float = 0.0
    rendering: int = 0


class SimulatedWorker:
    """One session. Its device is a timer; all else is said as a worker says it."""

    def __init__(self, number: int, load: Load, video: bytes, counts: Counts) -> None:
        self._name = f"sim-{number:05}"
        self._load = load
        self._video = video
        self._sha256 = hashlib.sha256(video).hexdigest()
        self._counts = counts
        self._random = random.Random(number)
        self._outbox: asyncio.Queue[session_pb.SessionRequest] = asyncio.Queue()
        self._todo: deque[session_pb.Assign] = deque()
        self._renders = False
        self._first = True  # clip: it ends early, so that not all workers end together
        self._idle_since_s: float | None = None

    async def run(self, channel: grpc.aio.Channel, dialling: asyncio.Semaphore) -> None:
        """Holds the session until it is cancelled."""
        session = channel.stream_stream(
            _SESSION,
            request_serializer=session_pb.SessionRequest.SerializeToString,
            response_deserializer=session_pb.SessionResponse.FromString,
        )
        await dialling.acquire()
        async for response in session(self._requests()):
            match response.WhichOneof("message"):
                case "welcome":
                    dialling.release()
                    self._counts.ready += 1
                    every_s = response.welcome.heartbeat_interval.ToMicroseconds() / 1e6
                    self._beat(every_s, every_s * self._random.random())
                case "assign":
                    self._todo.append(response.assign)
                    if not self._renders:
                        self._begin()
                case "settled":
                    self._counts.shots += response.settled.accepted
                    self._counts.refused += not response.settled.accepted

    async def _requests(self) -> AsyncIterator[session_pb.SessionRequest]:
        about = pb.Worker(name=f"workers/{self._name}", hostname="simulated", pid=os.getpid())
        yield session_pb.SessionRequest(hello=session_pb.Hello(worker=about))
        about.device = "simulated"
        about.models.append(model_to_wire(TINY))
        yield session_pb.SessionRequest(ready=session_pb.Ready(worker=about))
        while True:
            yield await self._outbox.get()

    def _beat(self, every_s: float, first_s: float) -> None:
        def beat() -> None:
            self._counts.heartbeats += 1
            told = session_pb.Heartbeat(memory_used_bytes=1 << 34, memory_total_bytes=1 << 35)
            self._outbox.put_nowait(session_pb.SessionRequest(heartbeat=told))
            loop.call_later(every_s, beat)

        loop = asyncio.get_running_loop()
        loop.call_later(first_s, beat)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        assign, self._renders = self._todo.popleft(), True
        if self._idle_since_s is not None:
            self._counts.waits += 1
            self._counts.waited_s += loop.time() - self._idle_since_s
        self._counts.rendering += 1
        share = self._random.uniform(0.1, 1) if self._first else 1.0
        self._first = False
        clip_s = (
            self._load.clip_s
            * share
            * self._random.uniform(1 - self._load.spread, 1 + self._load.spread)
        )
        self._tell(assign, 0)
        for step in self._told_steps(assign, clip_s):
            loop.call_later(clip_s * step / self._load.steps, self._tell, assign, step)
        loop.call_later(clip_s, self._end, assign, clip_s)

    def _told_steps(self, assign: session_pb.Assign, clip_s: float) -> list[int]:
        """After which steps it tells how far it is; see farm.cluster.holding."""
        if self._load.every_step or not assign.HasField("progress_interval"):
            return list(range(1, self._load.steps + 1))
        every_s = assign.progress_interval.ToMicroseconds() / 1e6
        told, told_s = [], 0.0
        for step in range(1, self._load.steps + 1):
            at_s = clip_s * step / self._load.steps
            if step == assign.tell_step or at_s - told_s >= every_s:
                told.append(step)
                told_s = at_s
        return told

    def _tell(self, assign: session_pb.Assign, step: int) -> None:
        self._counts.progress += 1
        told = pb.Progress(step=step, step_count=self._load.steps)
        progress = session_pb.LeaseProgress(lease=assign.lease, progress=told)
        self._outbox.put_nowait(session_pb.SessionRequest(progress=progress))

    def _end(self, assign: session_pb.Assign, clip_s: float) -> None:
        self._counts.rendering -= 1
        self._counts.busy_s += clip_s
        chunk = session_pb.VideoChunk(lease=assign.lease, offset_bytes=0, data=self._video)
        self._outbox.put_nowait(session_pb.SessionRequest(video_chunk=chunk))
        done = session_pb.Done(
            lease=assign.lease,
            video=pb.Video(
                size_bytes=len(self._video),
                sha256=self._sha256,
                frame_count=SETTINGS["frame_count"],
                width_px=SETTINGS["width_px"],
                height_px=SETTINGS["height_px"],
                media_type="video/mp4",
            ),
        )
        done.render_duration.FromMicroseconds(round(clip_s * 1e6))
        line = done.log.add(level="info", event="shot.rendered", fields={"write_s": "0.1"})
        line.time.GetCurrentTime()
        self._outbox.put_nowait(session_pb.SessionRequest(done=done))
        self._renders = False
        self._idle_since_s = asyncio.get_running_loop().time()
        if self._todo:
            self._begin()


def video() -> bytes:
    """A real video, as small as they come."""
    params = resolve(RenderParams(**SETTINGS, step_count=1), TINY, 1)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        FakeRenderer().render(rig.IMAGE.read_bytes(), params).write(path)
        return path.read_bytes()


async def _run(address: str, load: Load) -> None:
    counts, clip = Counts(), video()
    # Options that differ keep the channels from sharing one connection.
    channels = [
        grpc.aio.insecure_channel(address, options=[("bench.connection", number)])
        for number in range(load.connections)
    ]
    dialling = asyncio.Semaphore(_DIALLING)
    workers = [SimulatedWorker(n, load, clip, counts) for n in range(load.workers)]
    running = [
        asyncio.create_task(worker.run(channels[n % len(channels)], dialling))
        for n, worker in enumerate(workers)
    ]
    asks = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(asks), sys.stdin
    )
    while counts.ready < load.workers:
        ended = [task for task in running if task.done()]
        if ended:
            await ended[0]  # raises what the gateway said
        await asyncio.sleep(0.2)
    print("ready", flush=True)
    while await asks.readline():
        print(json.dumps(dataclasses.asdict(counts)), flush=True)
    os._exit(0)  # thousands of sessions would say good-bye first


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], Load(**json.loads(sys.argv[2]))))
