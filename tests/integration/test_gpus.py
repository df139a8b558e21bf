"""One actor a GPU, on a Ray that believes in four of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.gateway.server import Gateway
from svdfarm import Client, NewShot, RenderParams, WorkerState
from tests.running import IMAGES, eventually


@pytest.mark.usefixtures("ray_cluster")
def test_a_batch_reaches_every_gpu(gateway: Gateway, tmp_path: Path) -> None:
    from ray import serve

    from farm.cluster.replica import WorkerConfig, worker_app

    address = str(gateway.address)
    config = WorkerConfig(address, "tiny", device="cpu", threads=1, drain_s=10)
    handle = serve.run(
        worker_app(config, count=4, cpus=0.5, gpus=1), name="four-gpus", route_prefix=None
    )
    try:
        with Client(address) as client:

            def active() -> list[str]:
                return [w.name for w in client.workers() if w.state == WorkerState.ACTIVE]

            eventually(lambda: len(active()) == 4, timeout_s=60)
            gpus: dict[str, str] = {}

            def asked_all() -> bool:
                told = handle.remote().result(timeout_s=10)
                gpus[told["worker"]] = told["cuda_visible_devices"]
                return len(gpus) == 4

            eventually(asked_all, timeout_s=60)
            assert sorted(gpus.values()) == ["0", "1", "2", "3"]

            small = RenderParams(width_px=64, height_px=64, frame_count=2, step_count=8)
            job = client.submit(
                [NewShot(IMAGES / "rocket.jpg", small, name=f"shot-{n}") for n in range(8)]
            )
            job.wait(timeout_s=60)
            assert {shot.worker for shot in job.shots()} == set(gpus)
    finally:
        serve.delete("four-gpus")
