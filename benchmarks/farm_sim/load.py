"""What shots, heartbeats and workers cost a real gateway and its database, in processor seconds.

Processor seconds, not seconds: gateway, database and simulated workers share what cores there are.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import rig
from benchmarks.farm_sim.processes import cpu_s, database_s, postmaster
from benchmarks.farm_sim.workers import SETTINGS, Load
from farm.jobs.params import TINY
from svdfarm import Client, RenderParams


@dataclass(frozen=True)
class Spent:
    """Processor seconds and messages, until now or between two moments."""

    wall_s: float
    gateway_s: float
    loop_s: float  # of `gateway_s`, its main thread: asyncio's loop
    database_s: float
    counts: dict[str, float]

    def __sub__(self, before: Spent) -> Spent:
        counts = {name: value - before.counts[name] for name, value in self.counts.items()}
        return Spent(
            self.wall_s - before.wall_s,
            self.gateway_s - before.gateway_s,
            self.loop_s - before.loop_s,
            self.database_s - before.database_s,
            counts,
        )


class Farm:
    """A gateway, a database and simulated workers; made by `running`."""

    def __init__(self, gateway: rig.Gateway, database: str | None, load: Load) -> None:
        self.gateway = gateway
        self._postmaster = postmaster(database) if database else None
        command = [sys.executable, "-m", "benchmarks.farm_sim.workers", gateway.address]
        self._workers = subprocess.Popen(
            [*command, json.dumps(asdict(load))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._workers.stdout is not None
        assert self._workers.stdout.readline() == "ready\n"

    def submit(self, shot_count: int, job_size: int = 10_000, steps: int = 25) -> None:
        """Queues shots."""
        params = RenderParams(model=TINY.name, **SETTINGS, step_count=steps)
        with Client(self.gateway.address) as client:
            for start in range(0, shot_count, job_size):
                client.submit([rig.IMAGE] * min(job_size, shot_count - start), params=params)

    def spent(self) -> Spent:
        """What was spent until now."""
        assert self._workers.stdin is not None
        assert self._workers.stdout is not None
        self._workers.stdin.write("\n")
        self._workers.stdin.flush()
        pid = self.gateway.process.pid
        return Spent(
            time.monotonic(),
            self.gateway.cpu_s(),
            cpu_s(Path(f"/proc/{pid}/task/{pid}")),
            database_s(self._postmaster) if self._postmaster else 0.0,
            json.loads(self._workers.stdout.readline()),
        )

    def over(self, window_s: float) -> Spent:
        """What is spent in so many seconds from now."""
        before = self.spent()
        time.sleep(window_s)
        return self.spent() - before

    def stop(self) -> None:
        """Ends the workers."""
        self._workers.kill()
        self._workers.wait()


@contextlib.contextmanager
def running(load: Load, database: str | None) -> Iterator[Farm]:
    """A farm in a new folder for the length of a with block."""
    with (
        tempfile.TemporaryDirectory(prefix="sim-farm-") as folder,
        rig.gateway(Path(folder) / "data", database) as gateway,
    ):
        farm = Farm(gateway, database, load)
        try:
            yield farm
        finally:
            farm.stop()


def measure(
    load: Load, database: str | None, *, shots: int, warm_s: float, window_s: float
) -> dict[str, Any]:
    """The cost of workers that have nothing to do, then of shots."""
    with running(load, database) as farm:
        idle_mb = farm.gateway.memory_mb("VmRSS")
        time.sleep(3)
        idle = farm.over(window_s)
        before = farm.spent()
        farm.submit(shots)
        submitted = farm.spent() - before
        time.sleep(warm_s)
        busy = farm.over(window_s)
        memory_mb = farm.gateway.memory_mb()
    return {
        **asdict(load),
        "shots_queued": shots,
        "idle": _figures(idle),
        "submit_ms_per_shot": _ms(submitted.gateway_s / shots),
        "busy": _figures(busy),
        "utilisation": round(busy.counts["busy_s"] / (load.workers * busy.wall_s), 4),
        "gateway_idle_memory_mb": idle_mb,
        "gateway_peak_memory_mb": memory_mb,
    }


def _figures(spent: Spent) -> dict[str, float]:
    """As rates and, where there were shots, for each of them."""
    shots = spent.counts["shots"]
    told = {
        "window_s": round(spent.wall_s, 1),
        "shots": shots,
        "refused": spent.counts["refused"],
        "heartbeats_per_s": round(spent.counts["heartbeats"] / spent.wall_s, 1),
        "progress_per_s": round(spent.counts["progress"] / spent.wall_s, 1),
        "gateway_cores": round(spent.gateway_s / spent.wall_s, 3),
        "database_cores": round(spent.database_s / spent.wall_s, 3),
    }
    if shots:
        told["shots_per_s"] = round(shots / spent.wall_s, 1)
        told["waits_per_shot"] = round(spent.counts["waits"] / shots, 3)
        told["gateway_ms_per_shot"] = _ms(spent.gateway_s / shots)
        told["loop_ms_per_shot"] = _ms(spent.loop_s / shots)
        told["database_ms_per_shot"] = _ms(spent.database_s / shots)
    return told


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
