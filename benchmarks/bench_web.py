"""What the web page costs: its load with many jobs, browsers that watch, seeking in a video.

    python benchmarks/bench_web.py --out benchmarks/results/web.json

The gateway is a process of its own. `html` is the answer to GET / alone, `page` what Chromium takes
to its load event, sheets, scripts and pictures included (left out where there is no Chromium), with
nothing in its cache; `page_first` is the very first, for which the gateway makes the 25 pictures of
the list small, photographs of 6 megapixels each, and `page_kb` what comes over the wire. The
browsers that watch are HTTP clients, half on the list and half on a job whose clip renders at
--step-s a step: `watched` is the gateway's processor time a second then, `unwatched` the same work
with nobody there. A seek is a Range request for 64 KiB at a random place of a --size-mb video,
timed until all of it is there.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import httpx2
import rig
from bench_download import MB, PaddedRenderer
from PIL import Image

from farm.cluster.agent import Agent
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc, resources_pb2

SEEK_BYTES = 64 * 1024
LIST = 25  # jobs on the page
CHROMIUM = "chromium"


def main() -> int:
    """Returns the exit code."""
    parser = rig.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--browsers", type=int, default=50)
    parser.add_argument("--watch-s", type=float, default=20)
    parser.add_argument("--step-s", type=float, default=0.1)
    parser.add_argument("--size-mb", type=int, default=200)
    parser.add_argument("--times", type=int, default=50)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        http = f"127.0.0.1:{listener.getsockname()[1]}"
    with (
        tempfile.TemporaryDirectory(prefix="bench-web-") as name,
        rig.gateway(Path(name) / "data", options.database, http) as gateway,
        grpc.insecure_channel(gateway.address) as channel,
        httpx2.Client(base_url=f"http://{http}", timeout=60) as client,
    ):
        stub = render_service_pb2_grpc.RenderServiceStub(channel)
        seeks = _seeks(stub, client, gateway.address, Path(name), options)
        photographs = [_upload(stub, _photograph(number)) for number in range(LIST)]
        for number in range(options.jobs):  # nobody here renders svd: they wait
            _create(stub, "svd", image=photographs[number % LIST])
        figures: dict[str, Any] = {"jobs": options.jobs}
        figures |= rig.spread("html", [_time(client, "/") for _ in range(options.times)])
        if shutil.which(CHROMIUM):
            first, *loads = _page_loads(f"http://{http}/", 11)
            figures |= {"page_first_s": round(first[0], 3), "page_kb": round(loads[0][1] / 1000)}
            figures |= rig.spread("page", [took_s for took_s, _ in loads])
        figures |= _watching(gateway, stub, f"http://{http}", options)
        figures |= {"video_mb": options.size_mb, **rig.spread("seek", seeks)}
        figures["gateway_memory_mb"] = gateway.memory_mb()
    rig.publish(options, load, figures)
    return 0


def _photograph(number: int) -> bytes:
    """One of some 2 MB, each another file."""
    with Image.open(rig.IMAGE) as picture:
        large = picture.convert("RGB").resize((3000, 2000)).rotate(number, expand=True)
    file = io.BytesIO()
    large.crop((0, 0, 3000, 2000)).save(file, "JPEG", quality=92)
    return file.getvalue()


def _upload(stub: Any, data: bytes) -> str:
    parts = (pb.UploadImageRequest(data=data[i : i + 2**18]) for i in range(0, len(data), 2**18))
    return str(stub.UploadImage(parts).name)


def _create(stub: Any, model: str, steps: int = 1, image: str = "") -> resources_pb2.Job:
    image = image or _upload(stub, rig.IMAGE.read_bytes())
    params = resources_pb2.RenderParams(
        model=model, width_px=64, height_px=64, frame_count=7, step_count=steps
    )
    return stub.CreateJob(
        pb.CreateJobRequest(shots=[resources_pb2.Shot(image=image, params=params)])
    )


def _time(client: httpx2.Client, path: str, **headers: str) -> float:
    started = time.perf_counter()
    answer = client.get(path, headers=headers)
    assert answer.status_code in (200, 206), answer.text
    return time.perf_counter() - started


def _page_loads(url: str, count: int) -> list[tuple[float, int]]:
    """Of each the seconds to its load event, and its bytes."""
    from playwright.sync_api import sync_playwright

    took = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"]
        )
        for _ in range(count):
            context = browser.new_context()  # nothing in its cache
            page = context.new_page()
            page.goto(url)
            took_ms, size_bytes = page.evaluate(
                """() => {
                  const [whole] = performance.getEntriesByType("navigation");
                  const parts = [whole, ...performance.getEntriesByType("resource")];
                  const bytes = parts.reduce((sum, part) => sum + part.transferSize, 0);
                  return [whole.loadEventEnd, bytes];
                }"""
            )
            took.append((took_ms / 1000, size_bytes))
            context.close()
        browser.close()
    return took


def _watching(gateway: rig.Gateway, stub: Any, url: str, options: Any) -> dict[str, float]:
    """Processor time a second while a clip renders, watched and not."""
    with rig.worker(gateway.address, options.step_s):
        job = _create(stub, "tiny", 200)
        other = _create(stub, "tiny", 200)
        unwatched = _cores(gateway, options.watch_s)
        stub.CancelJob(pb.CancelJobRequest(name=job.name))
        end = threading.Event()
        told = [0] * options.browsers
        paths = ["/live/jobs", f"/live/{other.name}?first=1&last=1"]

        def browse(number: int) -> None:
            with (
                httpx2.Client(timeout=None) as browser,
                browser.stream("GET", url + paths[number % 2]) as answer,
            ):
                for line in answer.iter_lines():
                    told[number] += line.startswith("data:")
                    if end.is_set():
                        return

        threads = [threading.Thread(target=browse, args=(n,)) for n in range(options.browsers)]
        for thread in threads:
            thread.start()
        while not all(told):
            time.sleep(0.1)
        before = sum(told)
        watched = _cores(gateway, options.watch_s)
        events = sum(told) - before
        stub.CancelJob(pb.CancelJobRequest(name=other.name))
        end.set()
        for thread in threads:
            thread.join(60)
    return {
        "browsers": options.browsers,
        "unwatched_cores": unwatched,
        "watched_cores": watched,
        "events_per_browser_per_s": round(events / options.browsers / options.watch_s, 1),
    }


def _cores(gateway: rig.Gateway, duration_s: float) -> float:
    before_s, started = gateway.cpu_s(), time.perf_counter()
    time.sleep(duration_s)
    return round((gateway.cpu_s() - before_s) / (time.perf_counter() - started), 3)


def _seeks(
    stub: Any, client: httpx2.Client, address: str, folder: Path, options: Any
) -> list[float]:
    """How long parts of a large video take."""
    agent = Agent(address, None, folder=folder, version="bench")
    agent.start()
    try:
        agent.serve(PaddedRenderer(options.size_mb * MB))
        job = _create(stub, "tiny")
        for _ in stub.WatchJob(pb.WatchJobRequest(name=job.name)):
            pass
    finally:
        agent.stop()
    path = f"/v1/videos/video_{job.name.removeprefix('jobs/')}/content"
    places = random.Random(7).sample(range(options.size_mb * MB - SEEK_BYTES), options.times)
    return [_time(client, path, range=f"bytes={at}-{at + SEEK_BYTES - 1}") for at in places]


if __name__ == "__main__":
    sys.exit(main())
