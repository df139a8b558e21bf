"""Workers that have to go, for an upgrade or with a preempted node: nothing is lost, no try spent.

Each Ray cluster is a process of its own, with real nodes; a node's own process gets the SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from svdfarm import Client, NewShot, RenderParams, ShotState, Worker, WorkerState
from svdfarm.jobs import JobHandle
from tests.integration.conftest import POD_TOKEN, RAY_SETTINGS
from tests.running import IMAGES, eventually, running_gateway

HERE = Path(__file__).parents[2]
SMALL = {"model": "tiny", "width_px": 128, "height_px": 128, "frame_count": 4}
SHORT = RenderParams(**SMALL, step_count=4)
LONG = RenderParams(**SMALL, step_count=200)


@dataclass
class Farm:
    """A gateway, and Ray clusters that work for it."""

    address: str
    data: Path
    client: Client

    def workers_of(self, cluster: subprocess.Popen[str]) -> list[Worker]:
        """Those that take shots and whose raylet this process has started."""
        return [
            worker
            for worker in self.client.workers()
            if worker.state == WorkerState.ACTIVE
            and any(p.pid == cluster.pid for p in psutil.Process(worker.pid).parents())
        ]

    def charged(self, job: JobHandle) -> set[int]:
        """How many attempts count against shots of a job."""
        query = "select charged_attempt_count from shot where job_id = ?"
        with sqlite3.connect(self.data / "farm.db") as database:
            rows = database.execute(query, [job.name.removeprefix("jobs/")])
            return {count for (count,) in rows}

    def submit(self, *params: RenderParams) -> JobHandle:
        shots = [NewShot(IMAGES / "rocket.jpg", p, name=f"shot-{n}") for n, p in enumerate(params)]
        return self.client.submit(shots, use_cache=False)


@contextmanager
def cluster(farm: Farm, workers: int, drain_s: float) -> Iterator[subprocess.Popen[str]]:
    """A Ray cluster for the length of a with block."""
    command = ["-m", "tests.integration.ray_service", farm.address, str(workers), str(drain_s)]
    with (farm.data.parent / f"cluster-{workers}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=HERE,
            stdout=log,
            stderr=log,
            text=True,
            env={
                **os.environ,
                **RAY_SETTINGS,
                **own_tmp(farm, workers),
                "FARM_TOKEN": POD_TOKEN,
            },
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    data = tmp_path_factory.mktemp("drain") / "data"
    with (
        running_gateway(data, token=POD_TOKEN) as gateway,
        Client(str(gateway.address), POD_TOKEN) as client,
    ):
        yield Farm(str(gateway.address), data, client)


@pytest.fixture(scope="module")
def new(farm: Farm) -> Iterator[subprocess.Popen[str]]:
    """The cluster that stays, of one worker."""
    with cluster(farm, workers=1, drain_s=60) as process:
        yield process


def run_hook(name: str, drain_s: int, farm: Farm, workers: int) -> None:
    """Runs a preStop hook of the chart, as kubelet does in a Pod of the cluster."""
    log = (farm.data.parent / f"cluster-{workers}.log").read_text()
    ready = next(line for line in log.splitlines() if line.startswith("ready "))
    script = HERE / "deploy" / "helm" / "svdfarm" / "files" / "hooks" / f"{name}.sh"
    environment = {**os.environ, **RAY_SETTINGS, **own_tmp(farm, workers)}
    environment["RAY_ADDRESS"] = json.loads(ready.removeprefix("ready "))["address"]
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment["DRAIN_SECONDS"] = str(drain_s)
    done = subprocess.run(
        ["bash", "-c", script.read_text()],
        env=environment,
        capture_output=True,
        text=True,
        timeout=drain_s + 60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def own_tmp(farm: Farm, workers: int) -> dict[str, str]:
    """A cluster's own /tmp, as its Pods have; Ray's sockets want a short path."""
    folder = farm.data.parent / f"tmp-{workers}"
    folder.mkdir(exist_ok=True)
    return {"TMPDIR": str(folder), "RAY_TMPDIR": "/tmp"}


def test_a_head_that_goes_lets_its_workers_end_their_shots_first(
    farm: Farm, new: subprocess.Popen[str]
) -> None:
    """Without Redis they die with it, which would cost each shot an attempt."""
    with cluster(farm, workers=2, drain_s=60) as old:
        eventually(lambda: farm.workers_of(new) and len(farm.workers_of(old)) == 2, timeout_s=120)
        leaving = {worker.name for worker in farm.workers_of(old)}
        job = farm.submit(LONG, LONG, LONG, SHORT, SHORT)
        eventually(lambda: begun(job, 3), timeout_s=60)  # one at each worker
        run_hook("head-stop", 60, farm, 2)
        ended = [shot for shot in job.shots() if shot.worker in leaving]
        assert [shot.state for shot in ended] == [ShotState.SUCCEEDED] * 2
        assert len(farm.workers_of(new)) == 1
        old.kill()  # as the end of the Pod does
    job.wait(timeout_s=120)
    assert {shot.attempt_count for shot in job.shots()} == {1}
    assert farm.charged(job) == {1}


def begun(job: JobHandle, count: int) -> bool:
    return len([s for s in job.shots() if s.progress and s.progress.step > 0]) >= count


def test_an_old_cluster_hands_over_under_load(farm: Farm, new: subprocess.Popen[str]) -> None:
    with cluster(farm, workers=2, drain_s=1) as old:
        eventually(lambda: farm.workers_of(new) and len(farm.workers_of(old)) == 2, timeout_s=120)
        leaving = {worker.name for worker in farm.workers_of(old)}
        job = farm.submit(LONG, LONG, LONG, *[SHORT] * 6)
        eventually(lambda: begun(job, 3), timeout_s=60)  # one at each worker
        old.terminate()  # as a kubelet does, to a Pod's first process
        assert old.wait(60) == 1  # Ray's own, for a node that was told to go
    job.wait(timeout_s=200)
    assert {shot.state for shot in job.shots()} == {ShotState.SUCCEEDED}
    assert {shot.worker for shot in job.shots()}.isdisjoint(leaving)
    outcomes = [a.outcome for a in job.attempts() if a.worker in leaving]
    assert outcomes == ["WORKER_DRAINED"] * 2  # too long for its second: rendered again, for free
    assert farm.charged(job) == {1}


def test_a_worker_that_gets_sigterm_ends_its_shot_while_another_takes_its_place(
    farm: Farm, new: subprocess.Popen[str]
) -> None:
    eventually(lambda: farm.workers_of(new), timeout_s=120)
    (worker,) = farm.workers_of(new)
    job = farm.submit(LONG, SHORT)
    eventually(lambda: begun(job, 1), timeout_s=60)
    os.kill(worker.pid, signal.SIGTERM)
    job.wait(timeout_s=120)
    long, short = job.shots()
    assert (long.worker, long.attempt_count) == (worker.name, 1)
    assert short.worker != worker.name
    assert farm.charged(job) == {1}
    eventually(lambda: not psutil.pid_exists(worker.pid), timeout_s=30)
