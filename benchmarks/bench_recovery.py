"""How soon the farm goes on after a SIGKILL, of a worker and of the gateway.

    python benchmarks/bench_recovery.py --out benchmarks/results/recovery.json

queued_again   from the kill of a worker that renders until its shot is seen QUEUED
sessions_back  from the kill of the gateway, which is started again at once, until all eight workers
               are seen by it with the shots that they rendered on through it
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import rig

from farm.jobs.params import TINY
from svdfarm import Client, Job, RenderParams, Shot, ShotState, WorkerState

WORKER_COUNT = 8
STEP_S = 0.05
LONG = RenderParams(
    model=TINY.name, width_px=64, height_px=64, frame_count=7, step_count=200, seed=1
)
DEADLINE_S = 60.0


def main() -> int:
    """Returns the exit code."""
    parser = rig.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="bench-recovery-") as folder,
        rig.gateway(Path(folder) / "data", options.database) as gateway,
        contextlib.ExitStack() as workers,
    ):
        queued_s = [_kill_worker(gateway) for _ in _counted(options.rounds, "worker")]
        for _ in range(WORKER_COUNT):
            workers.enter_context(rig.worker(gateway.address, STEP_S))
        back_s = [_kill_gateway(gateway) for _ in _counted(options.rounds, "gateway")]
    figures = {
        "rounds": options.rounds,
        "workers": WORKER_COUNT,
        **rig.spread("queued_again", queued_s),
        **rig.spread("sessions_back", back_s),
    }
    rig.publish(options, load, figures)
    return 0


def _kill_worker(gateway: rig.Gateway) -> float:
    with Client(gateway.address) as client:
        job = client.submit(rig.IMAGE, params=LONG)
        with rig.worker(gateway.address, STEP_S) as worker:
            events = job.watch(timeout_s=DEADLINE_S)
            _first(events, lambda shot: shot.state is ShotState.RENDERING)
            killed = time.perf_counter()
            rig.end(worker, signal.SIGKILL)
            _first(events, lambda shot: shot.state is ShotState.QUEUED)
            took_s = time.perf_counter() - killed
        job.cancel()
        job.wait(timeout_s=DEADLINE_S)
    return took_s


def _kill_gateway(gateway: rig.Gateway) -> float:
    with Client(gateway.address) as client:
        job = client.submit([rig.IMAGE] * WORKER_COUNT, params=LONG)
        _until(lambda: all(shot.progress is not None for shot in job.shots()))
    killed = time.perf_counter()
    gateway.stop(signal.SIGKILL)
    gateway.start()
    with Client(gateway.address) as client:
        job = client.job(job.name)
        _until(lambda: _active(client) == WORKER_COUNT and _all_render_on(job.shots()))
        took_s = time.perf_counter() - killed
        job.cancel()
        job.wait(timeout_s=DEADLINE_S)
    return took_s


def _active(client: Client) -> int:
    return sum(worker.state is WorkerState.ACTIVE for worker in client.workers())


def _all_render_on(shots: object) -> bool:
    """Whether every shot tells steps again, of its first attempt."""
    return all(
        shot.state is ShotState.RENDERING and shot.attempt_count == 1 and shot.progress is not None
        for shot in shots  # type: ignore[attr-defined]
    )


def _first(events: object, wanted: Callable[[Shot], bool]) -> Shot:
    for event in events:  # type: ignore[attr-defined]
        if not isinstance(event, Job) and wanted(event):
            return event
    raise AssertionError("the job ended")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + DEADLINE_S
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.01)


def _counted(rounds: int, what: str) -> range:
    print(f"{rounds} rounds of killing a {what} ...", file=sys.stderr, flush=True)
    return range(rounds)


if __name__ == "__main__":
    sys.exit(main())
