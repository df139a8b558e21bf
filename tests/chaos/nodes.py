"""Loses nodes of a real Ray cluster under load, the head among them, and counts what came of it.

python -m tests.chaos.nodes --nodes 6 --heads 2
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from farm.render.probe import probe_video
from svdfarm import Client, NewShot, RenderParams, Shot, ShotState
from svdfarm.jobs import JobHandle
from tests.integration.conftest import RAY_SETTINGS
from tests.running import IMAGES, eventually, running_gateway

_WORKERS = 2
_LEASE_S = 5.0
_SHOTS = 8  # of the job that is under way at each loss
_PARAMS = RenderParams(model="tiny", width_px=128, height_px=128, frame_count=4, step_count=30)


class RayCluster:
    """A Ray cluster of one head and one node of workers; it is another one after `lose_head`."""

    def __init__(self, gateway: str, log: Path) -> None:
        self._gateway, self._log = gateway, log
        self._start()

    def _start(self) -> None:
        command = ["-m", "tests.chaos.ray_cluster", self._gateway, str(_WORKERS)]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **RAY_SETTINGS},
                start_new_session=True,  # what it starts ends with it
            )
        self._hear("ready")

    def _hear(self, word: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"Ray ended before it was {word}: see {self._log}")

    def lose_node(self) -> None:
        """The node of the workers is gone; another one comes."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._hear("lost")

    def lose_head(self) -> None:
        """Everything is gone at once; another cluster comes."""
        self.end()
        self._start()

    def end(self) -> None:
        """Kills what there is of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def lose(folder: Path, nodes: int, heads: int, seed: int) -> list[str]:
    """Loses so many; returns what was broken. Prints a line for each loss."""
    rng, broken, recoveries_s = random.Random(seed), list[str](), list[float]()
    losses = [*["node"] * nodes, *["head"] * heads]
    with (
        running_gateway(folder / "data", lease_s=_LEASE_S) as gateway,
        Client(str(gateway.address)) as client,
        _cluster(str(gateway.address), folder / "ray.log") as cluster,
    ):
        for number, loss in enumerate(losses, start=1):
            shots = [NewShot(IMAGES / "rocket.jpg", _PARAMS, name=f"s-{n}") for n in range(_SHOTS)]
            job = client.submit(shots, use_cache=False)
            eventually(lambda: _begun(job), timeout_s=180)  # noqa: B023
            threading.Event().wait(rng.uniform(0, 1.0))
            done = job.get().succeeded_shot_count
            lost = time.monotonic()
            getattr(cluster, f"lose_{loss}")()
            eventually(lambda: job.get().succeeded_shot_count > done, timeout_s=240)  # noqa: B023
            recoveries_s.append(time.monotonic() - lost)
            job.wait(timeout_s=240)
            broken += _look(job, folder / "videos")
            print(f"{number}/{len(losses)} {loss}: {recoveries_s[-1]:.1f} s to the next video")
    print(
        f"{nodes} nodes and {heads} heads lost, {_SHOTS * len(losses)} shots, {len(broken)} broken "
        f"promises; to the next video p50 {statistics.median(recoveries_s):.1f} s, "
        f"max {max(recoveries_s):.1f} s"
    )
    return broken


@contextlib.contextmanager
def _cluster(gateway: str, log: Path) -> Iterator[RayCluster]:
    cluster = RayCluster(gateway, log)
    try:
        yield cluster
    finally:
        cluster.end()


def _begun(job: JobHandle) -> list[Shot]:
    return [shot for shot in job.shots() if shot.progress and shot.progress.step > 0]


def _look(job: JobHandle, folder: Path) -> Iterator[str]:
    folder.mkdir(exist_ok=True)
    for shot in job.shots():
        if shot.state is not ShotState.SUCCEEDED:
            yield f"P2 {shot.name} is {shot.state}: {shot.error}"
            continue
        path = job.finished(shot).save(folder / f"{shot.name.replace('/', '-')}.mp4")
        if (found := probe_video(path).frame_count) != 4:
            yield f"P3 {shot.name}: its video has {found} frames"


def main() -> int:
    """Returns the exit code: 1 where a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/nodes"))
    options = parser.parse_args()
    folder = options.out.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    broken = lose(folder, options.nodes, options.heads, options.seed)
    print("\n".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
