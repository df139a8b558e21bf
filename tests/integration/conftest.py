"""Real processes and a real Ray. Everything started here is ended here, by its own handle."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from svdfarm import Client
from tests.running import free_port

POD_TOKEN = "a-token-of-all-the-pods"
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "disabled",
}


@dataclass
class RunningFarm:
    """`farm up` in a process of its own."""

    address: str
    http: str
    data: Path
    process: subprocess.Popen[str]
    client: Client


@contextmanager
def farm_up(folder: Path, *flags: str) -> Iterator[RunningFarm]:
    """Runs `farm up` until the block ends, then expects it to stop cleanly."""
    port = free_port()
    http = free_port()
    with (folder / "up.log").open("w") as log:
        command = ["-m", "farm", "up", "--data", str(folder / "data"), *flags]
        addresses = ["--address", f"127.0.0.1:{port}", "--http", f"127.0.0.1:{http}"]
        process = subprocess.Popen(
            [sys.executable, *command, *addresses],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line == f"ready 127.0.0.1:{port}\n", (folder / "up.log").read_text()
        with Client(f"127.0.0.1:{port}") as client:
            yield RunningFarm(
                f"127.0.0.1:{port}", f"http://127.0.0.1:{http}", folder / "data", process, client
            )
        process.terminate()
        assert process.wait(120) == 0
        log_text = (folder / "up.log").read_text()
        assert log_text.endswith("stopped\n")
        assert "ended with code" not in log_text
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFarm]:
    """A farm of two CPU workers."""
    with farm_up(tmp_path_factory.mktemp("farm"), "--model", "tiny", "--workers", "2") as farm:
        yield farm


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray for all tests that need one, with four GPUs that are not there."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in RAY_SETTINGS.items():
            environment.setenv(name, value)
        import ray
        from ray import serve

        # As every Pod of a Ray cluster has it; not for what else the tests start.
        with pytest.MonkeyPatch.context() as pods:
            pods.setenv("FARM_TOKEN", POD_TOKEN)
            ray.init(
                address="local",  # not one that somebody else runs here
                num_cpus=4,
                num_gpus=4,
                resources={"svdfarm-one": 1},
                include_dashboard=False,
                object_store_memory=100_000_000,
            )
        serve.start(proxy_location="Disabled")
        yield
        serve.shutdown()
        ray.shutdown()
