"""What a gateway and its store spend, as load.py and store_costs.py measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Line:
    """Seconds that a group takes: some for itself, and some for each in it."""

    group_s: float
    each_s: float

    def of(self, size: int) -> float:
        """For so many together."""
        return self.group_s + self.each_s * size if size else 0.0


@dataclass(frozen=True)
class Costs:
    """Seconds of the gateway's processor, and seconds that its writer waits for the database."""

    message_s: float  # a message from a worker that changes nothing in the store
    send_s: float  # an Assign or Settled
    publish_s: float  # a video and its report, but for the store's work
    idle_gateway_s: float  # of a worker's heartbeat, with what follows from it
    cpu: Mapping[str, Line]  # of claim, start and record
    wait: Mapping[str, Line]
    commit_s: float = 0.0  # that a commit waits for the disk, and its statements for the network

    def group(self, sizes: Mapping[str, int]) -> tuple[float, float]:
        """Of one transaction: the writer's own work, and its waiting."""
        cpu_s = sum(line.of(sizes.get(kind, 0)) for kind, line in self.cpu.items())
        wait_s = sum(line.of(sizes.get(kind, 0)) for kind, line in self.wait.items())
        if sizes.get("look") and not sizes.get("claim"):
            cpu_s, wait_s = cpu_s + self.cpu["claim"].group_s, wait_s + self.wait["claim"].group_s
        return cpu_s, wait_s + self.commit_s


FREE = Costs(0, 0, 0, 0, {"claim": Line(0, 0)}, {"claim": Line(0, 0)})


def fit(store: Mapping[str, Any], kind: str) -> tuple[Line, Line]:
    """The lines through what store_costs.py measured of one kind: processor, and waiting."""
    sizes = np.array([int(size) for size in store[kind]], float)
    cpu = np.array([each["cpu_ms"] for each in store[kind].values()]) / 1e3
    # Not what the clock said: it measured what else this machine did.
    database = np.array([each["database_cpu_ms"] for each in store[kind].values()]) / 1e3
    return _line(sizes, cpu), _line(sizes, database)


def _line(sizes: np.ndarray, seconds: np.ndarray) -> Line:
    # Weighted, so that small groups count as much as large ones.
    each, group = np.polyfit(sizes, seconds, 1, w=1 / np.maximum(seconds, 1e-3))
    return Line(max(float(group), 0.0), max(float(each), 0.0))
