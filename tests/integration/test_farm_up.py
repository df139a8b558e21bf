"""The demo's path: `farm up` on a real Ray with two workers, the real SDK, real SVD classes."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

from farm.render.probe import probe_video
from farm.render.receipt import read_receipt
from svdfarm import NewShot, RenderParams, ShotState, WorkerState
from tests.integration.conftest import RunningFarm
from tests.running import IMAGES, eventually

SMALL = {"width_px": 128, "height_px": 72, "frame_count": 8, "step_count": 2}


def test_four_photographs_become_four_videos(farm: RunningFarm, tmp_path: Path) -> None:
    shots = [
        NewShot(path, RenderParams(**SMALL, fps=10, seed=seed), name=path.stem)
        for seed, path in enumerate(sorted(IMAGES.glob("*.[jp][pn]g")))
    ]
    assert len(shots) == 4
    job = farm.client.submit(shots)
    for video in job.videos():
        path = tmp_path / video.shot.output_name
        video.save(path)
        facts = probe_video(path)
        assert (facts.frame_count, facts.width_px, facts.height_px) == (8, 128, 72)
        assert facts.fps == 10
        assert read_receipt(path)["model"]["name"] == "tiny"
    assert len(list(tmp_path.glob("*.mp4"))) == 4
    assert len({shot.worker for shot in job.shots()}) == 2


def test_http_says_that_it_is_well(farm: RunningFarm) -> None:
    with urllib.request.urlopen(f"{farm.http}/healthz", timeout=10) as answer:
        assert answer.status == 200


def test_a_killed_worker_is_replaced_and_its_shot_rendered(farm: RunningFarm) -> None:
    slow = RenderParams(**{**SMALL, "step_count": 60})
    job = farm.client.submit([NewShot(IMAGES / "rocket.jpg", slow, name="slow")])

    def rendering() -> bool:
        (shot,) = job.shots()
        return shot.progress is not None and shot.progress.step > 0

    eventually(rendering)
    (shot,) = job.shots()
    before = {w.name: w for w in farm.client.workers()}
    os.kill(before[shot.worker].pid, signal.SIGKILL)
    job.wait(timeout_s=120)
    (shot,) = job.shots()
    assert (shot.state, shot.attempt_count) == (ShotState.SUCCEEDED, 2)

    def whole_again() -> bool:
        active = [w for w in farm.client.workers() if w.state == WorkerState.ACTIVE]
        return len({w.name for w in active} - {shot.worker}) >= 1 and len(active) == 2

    eventually(whole_again, timeout_s=90)


def test_a_killed_gateway_comes_back_and_loses_nothing(farm: RunningFarm) -> None:
    slow = RenderParams(**{**SMALL, "step_count": 60})
    job = farm.client.submit(
        [NewShot(IMAGES / "coffee.png", slow, name=f"shot-{n}") for n in range(3)]
    )
    # Every claimed shot has reached its worker: a claim cut off before Assign is another attempt.
    eventually(lambda: len([shot for shot in job.shots() if shot.progress]) == 2)
    os.kill(_gateway_pid(farm), signal.SIGKILL)
    job.wait(timeout_s=120)
    assert [(s.state, s.attempt_count) for s in job.shots()] == [(ShotState.SUCCEEDED, 1)] * 3


def _gateway_pid(farm: RunningFarm) -> int:
    children = Path(f"/proc/{farm.process.pid}/task/{farm.process.pid}/children").read_text()
    (pid,) = (
        int(pid)
        for pid in children.split()
        if b"gateway" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    )
    return pid


def test_a_killed_ray_node_is_started_again(farm: RunningFarm) -> None:
    before = {worker.name for worker in farm.client.workers()}
    (raylet,) = (pid for pid in _descendants(farm.process.pid) if b"/raylet" in _command(pid)[:200])
    os.kill(raylet, signal.SIGKILL)

    def all_new() -> bool:
        active = {w.name for w in farm.client.workers() if w.state == WorkerState.ACTIVE}
        return len(active) == 2 and not active & before

    eventually(all_new, timeout_s=120)
    job = farm.client.submit([NewShot(IMAGES / "rocket.jpg", RenderParams(**SMALL), name="again")])
    assert job.wait(timeout_s=60).succeeded_shot_count == 1


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [d for child in map(int, children) for d in (child, *_descendants(child))]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
