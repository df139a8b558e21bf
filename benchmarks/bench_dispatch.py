"""How fast the gateway hands shots out and takes videos back: shots a second, and how long each
shot takes from claim to done, with workers that render in no time over real sessions.

    python benchmarks/bench_dispatch.py --out benchmarks/results/dispatch.json

The gateway is a process of its own, with SQLite at synchronous=FULL (or --database URL). The
workers are eight sessions in this process; each holds what the gateway lets it hold and answers an
Assign at once with a real video of one second, 64x64.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import rig

from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.fake import FakeRenderer
from farm.wire import model_to_wire
from svdfarm import Client
from svdfarm import RenderParams as ClientParams
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import session_service_pb2 as session_pb
from svdfarm.v1 import session_service_pb2_grpc as session_grpc

SETTINGS = {"width_px": 64, "height_px": 64, "frame_count": 7, "step_count": 1}


def main() -> int:
    """Returns the exit code."""
    parser = rig.parser(__doc__)
    parser.add_argument("--shots", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="bench-dispatch-") as folder,
        rig.gateway(Path(folder) / "data", options.database) as gateway,
    ):
        figures = measure(gateway, Path(folder), options.shots, options.workers)
    rig.publish(options, load, figures)
    return 0


def measure(
    gateway: rig.Gateway, folder: Path, shots: int, workers: int, shots_a_job: int | None = None
) -> dict[str, float]:
    """Figures of so many shots, of one job or of jobs with so many each."""
    video = _video(folder / "clip.mp4")
    each = shots_a_job or shots
    params = ClientParams(model=TINY.name, **SETTINGS)
    started = time.perf_counter()
    with Client(gateway.address) as client:
        jobs = [client.submit([rig.IMAGE] * each, params=params) for _ in range(shots // each)]
        submit_s = time.perf_counter() - started
        before_s = gateway.cpu_s()
        spans, render_s = asyncio.run(_serve(gateway.address, video, workers, shots))
        cpu_s = gateway.cpu_s() - before_s
        ended = [job.get() for job in jobs]
    assert {job.state.name for job in ended} == {"SUCCEEDED"}, ended
    quantiles = statistics.quantiles(spans, n=100)
    return {
        "shots": shots,
        "workers": workers,
        "submit_s": round(submit_s, 2),
        "shots_per_s": round(shots / render_s, 1),
        "claim_to_done_p50_ms": round(quantiles[49] * 1e3, 2),
        "claim_to_done_p99_ms": round(quantiles[98] * 1e3, 2),
        "gateway_cpu_ms_per_shot": round(cpu_s / shots * 1e3, 3),
        "gateway_peak_memory_mb": gateway.memory_mb(),
    }


def _video(path: Path) -> bytes:
    params = resolve(RenderParams(**SETTINGS), TINY, 1)  # type: ignore[arg-type]
    FakeRenderer().render(rig.IMAGE.read_bytes(), params).write(path)
    return path.read_bytes()


@dataclass
class _Session:
    """One worker that renders in no time."""

    name: str
    video: bytes
    spans: list[float]
    ended: asyncio.Event
    shot_count: int
    outbox: asyncio.Queue[session_pb.SessionRequest] = field(default_factory=asyncio.Queue)
    claimed: dict[str, float] = field(default_factory=dict)

    async def run(self, address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            call = session_grpc.SessionServiceStub(channel).Session(self._requests())
            async for response in call:
                match response.WhichOneof("message"):
                    case "assign":
                        self._render(response.assign.lease)
                    case "settled":
                        self._settle(response.settled)
                if self.ended.is_set():
                    call.cancel()
                    return

    async def _requests(self) -> AsyncIterator[session_pb.SessionRequest]:
        about = pb.Worker(name=f"workers/{self.name}", hostname="bench", pid=os.getpid())
        yield session_pb.SessionRequest(hello=session_pb.Hello(worker=about))
        about.device = "fake"
        about.models.append(model_to_wire(TINY))
        yield session_pb.SessionRequest(ready=session_pb.Ready(worker=about))
        while True:
            yield await self.outbox.get()

    def _render(self, lease: session_pb.Lease) -> None:
        self.claimed[lease.token] = time.perf_counter()
        progress = pb.Progress(step_count=SETTINGS["step_count"])
        begun = session_pb.LeaseProgress(lease=lease, progress=progress)
        self.outbox.put_nowait(session_pb.SessionRequest(progress=begun))
        chunk = session_pb.VideoChunk(lease=lease, offset_bytes=0, data=self.video)
        self.outbox.put_nowait(session_pb.SessionRequest(video_chunk=chunk))
        video = pb.Video(
            size_bytes=len(self.video),
            sha256=hashlib.sha256(self.video).hexdigest(),
            frame_count=SETTINGS["frame_count"],
            width_px=SETTINGS["width_px"],
            height_px=SETTINGS["height_px"],
            media_type="video/mp4",
        )
        done = session_pb.Done(lease=lease, video=video)
        self.outbox.put_nowait(session_pb.SessionRequest(done=done))

    def _settle(self, settled: session_pb.Settled) -> None:
        assert settled.accepted, settled
        self.spans.append(time.perf_counter() - self.claimed.pop(settled.lease.token))
        if len(self.spans) % 1000 == 0:
            print(f"{len(self.spans)} of {self.shot_count}", file=sys.stderr, flush=True)
        if len(self.spans) == self.shot_count:
            self.ended.set()


async def _serve(
    address: str, video: bytes, worker_count: int, shot_count: int
) -> tuple[list[float], float]:
    """From claim to done, seconds, of each shot; and how long all of them took."""
    spans: list[float] = []
    ended = asyncio.Event()
    sessions = [
        _Session(f"bench-{n}", video, spans, ended, shot_count) for n in range(worker_count)
    ]
    started = time.perf_counter()
    running = [asyncio.create_task(session.run(address)) for session in sessions]
    await ended.wait()
    took = time.perf_counter() - started
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return spans, took


if __name__ == "__main__":
    sys.exit(main())
