"""How many workers a group of them is to have: a pure function of what there is to render."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Demand:
    """What a group is needed for. No worker is in two of these counts."""

    queued_shot_count: int = 0  # that a free worker would be given now
    busy_worker_count: int = 0  # of the group; they hold shots
    withdrawn_worker_count: int = 0  # of the group; they have their places and take nothing

    @property
    def worker_count(self) -> int:
        """With how many workers no shot would wait, and none that renders would be stopped."""
        if not self.queued_shot_count:
            return self.busy_worker_count
        return self.busy_worker_count + self.withdrawn_worker_count + self.queued_shot_count


@dataclass(frozen=True)
class Bounds:
    """Between which numbers a group is scaled, and how long a worker is kept that nobody needs."""

    min_workers: int
    max_workers: int
    idle_s: float


class Need(NamedTuple):
    """So many workers were needed at a time."""

    time_s: float
    worker_count: int


def scale(
    demand: Demand | None, target: int, past: Sequence[Need], now_s: float, bounds: Bounds
) -> tuple[int, tuple[Need, ...]]:
    """How many workers there are to be, and the needs that the next call is to be told as `past`.

    More at once, fewer only when they were not needed for `idle_s`. `target` is the present
    number, those that still start included: it counts as needed while the demand is not known
    (None), and at the first call, which has no past.
    """
    count = target if demand is None else demand.worker_count
    if not past:
        count = max(count, target)
    recent = [
        need for need in past if now_s - need.time_s < bounds.idle_s and need.worker_count > count
    ]
    needs = (*recent, Need(now_s, count))  # each of them less than the one before
    return min(bounds.max_workers, max(bounds.min_workers, needs[0].worker_count)), needs
