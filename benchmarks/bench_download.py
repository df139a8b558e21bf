"""What the SDK takes: its import, and a large video over loopback, checked and synced to disk.

    python benchmarks/bench_download.py --out benchmarks/results/download.json

A worker hands in a real clip with so much padding (an MP4 `free` box) that it has --size-mb, by the
way of every video: session, check, blob, commit. The gateway is a process of its own; each client
downloads it --times times to a new file, in turn. `raw` is a stream that nobody checks or keeps.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import rig

from farm.cluster.agent import Agent
from farm.jobs.params import TINY
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered, Video
from svdfarm import AsyncClient, Client, FinishedVideo, RenderParams
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1.render_service_pb2_grpc import RenderServiceStub

SMALL = RenderParams(model=TINY.name, width_px=64, height_px=64, frame_count=7, step_count=1)
MB = 1_000_000


def main() -> int:
    """Returns the exit code."""
    parser = rig.parser(__doc__)
    parser.add_argument("--size-mb", type=int, default=200)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="bench-download-") as name,
        rig.gateway(Path(name) / "data", options.database) as gateway,
        Client(gateway.address) as client,
    ):
        folder = Path(name)
        video = _video(client, gateway.address, folder, options.size_mb * MB)
        target = folder / "video.mp4"
        ways: dict[str, Callable[[], object]] = {
            "raw": lambda: _raw(gateway.address, video),
            "sync": lambda: video.save(target, overwrite=True),
            "asyncio": lambda: asyncio.run(_save(gateway.address, video, target)),
        }
        before_s = gateway.cpu_s()
        took_s: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.times):
            for way, fetch in ways.items():
                took_s[way].append(_time(fetch))
        gateway_s = gateway.cpu_s() - before_s
        size_mb = video.video.size_bytes / MB
        figures: dict[str, Any] = {"import_s": _import_s(), "size_mb": round(size_mb)}
        for way, times_s in took_s.items():
            figures[f"{way}_mb_per_s"] = round(size_mb / statistics.median(times_s))
            figures[f"{way}_min_mb_per_s"] = round(size_mb / max(times_s))
        gigabytes = len(ways) * options.times * size_mb / 1000
        figures["gateway_cpu_s_per_gb"] = round(gateway_s / gigabytes, 2)
    rig.publish(options, load, figures)
    return 0


def _time(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _import_s() -> float:
    """How long `import svdfarm` takes a new process: the least of 20, as others use the machine."""
    script = "import time; t = time.perf_counter(); import svdfarm; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", script]
    return round(min(float(subprocess.check_output(command)) for _ in range(20)), 3)


def _raw(address: str, video: FinishedVideo) -> None:
    with grpc.insecure_channel(address) as channel:
        for _ in RenderServiceStub(channel).DownloadVideo(
            rpc.DownloadVideoRequest(name=video.video.name)
        ):
            pass


async def _save(address: str, video: FinishedVideo, target: Path) -> None:
    async with AsyncClient(address) as client:
        await client.download(video.video, target, overwrite=True)


def _video(client: Client, address: str, folder: Path, size_bytes: int) -> FinishedVideo:
    agent = Agent(address, None, folder=folder, version="bench")
    agent.start()
    try:
        agent.serve(PaddedRenderer(size_bytes))
        (video,) = client.submit(rig.IMAGE, params=SMALL).videos(timeout_s=120)
    finally:
        agent.stop()
    return video


class PaddedRenderer(FakeRenderer):
    """Its videos are of one size."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self._size_bytes = size_bytes

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        """See `FakeRenderer`."""
        rendered = super().render(*args, **kwargs)
        return Padded(**vars(rendered), size_bytes=self._size_bytes)


@dataclasses.dataclass(frozen=True)
class Padded(Rendered):
    """A clip whose file ends with a box that players skip."""

    size_bytes: int

    def write(self, path: Path) -> Video:
        """See `Rendered`."""
        written = super().write(path)
        size_bytes = self.size_bytes - written.size_bytes
        box = size_bytes.to_bytes(4, "big") + b"free" + os.urandom(size_bytes - 8)
        with path.open("ab") as file:
            file.write(box)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return dataclasses.replace(written, sha256=digest, size_bytes=self.size_bytes)


if __name__ == "__main__":
    sys.exit(main())
