"""Which worker renders which shot next: a pure function of the queue and the workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A queued shot, as much of it as the choice depends on."""

    shot: str
    model: str
    failed_on: frozenset[str] = frozenset()  # workers that ended an attempt without a video


@dataclass(frozen=True)
class WorkerView:
    """A connected worker, as much of it as the choice depends on."""

    worker: str
    models: frozenset[str]
    free_slots: int  # shots it can still take
    leaving: bool = False  # draining: it takes nothing more


@dataclass(frozen=True)
class Assignment:
    """This shot goes to this worker."""

    shot: str
    worker: str


def assign(queue: Sequence[Candidate], workers: Iterable[WorkerView]) -> list[Assignment]:
    """As many assignments as there are free slots, in the order of `queue`.

    `queue` is in order of service: priority, then age. A worker that failed a shot before gets
    it again only when no other connected worker serves its model, busy ones included: those
    will be free in a moment, and the shot that killed this one may kill it again.
    """
    staying = [w for w in workers if not w.leaving]
    free = {w.worker: w.free_slots for w in staying if w.free_slots > 0}
    chosen: list[Assignment] = []
    for shot in queue:
        if not free:
            break
        serving = [w.worker for w in staying if shot.model in w.models]
        untried = [w for w in serving if w not in shot.failed_on]
        able = [w for w in untried or serving if w in free]
        if not able:
            continue
        worker = max(able, key=lambda w: free[w])
        chosen.append(Assignment(shot.shot, worker))
        free[worker] -= 1
        if not free[worker]:
            del free[worker]
    return chosen
