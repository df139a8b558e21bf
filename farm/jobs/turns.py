"""Whose turn it is: start-time fair queueing between tenants, a pure function.

Each tenant has a turn in virtual time: when its next shot starts. A shot moves it on by the shot's
cost through the tenant's weight, and whoever's turn comes first is served. The farm's own time is
where it last served; a tenant that waited for nothing starts there, with no credit for its absence.
So all who wait get their weights' parts of the farm, nobody is passed over for ever, and priorities
hold within a tenant alone. (Goyal, Vin, Cheng: Start-time Fair Queuing, SIGCOMM 1996.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from farm.jobs.schedule import Assignment, Candidate, WorkerView, assign


@dataclass(frozen=True)
class Claimant:
    """A tenant with shots that may start now."""

    tenant: str
    weight: float
    turn: float  # as stored: when its next shot starts, unless it has been away since

    def starts(self, now: float) -> float:
        """When its next shot starts, in virtual time."""
        return max(self.turn, now)


@dataclass(frozen=True)
class Round:
    """Who gets what, and what is to be stored of the tenants that were served."""

    assignments: list[Assignment]
    served: list[Claimant]  # with their turns from now on
    now: float  # the farm's virtual time from now on


def in_order(claimants: Iterable[Claimant], now: float) -> list[Claimant]:
    """Whose turn comes first, first."""
    return sorted(claimants, key=lambda claimant: (claimant.starts(now), claimant.tenant))


def share(
    queues: Mapping[str, Sequence[Candidate]],
    claimants: Collection[Claimant],
    now: float,
    workers: Sequence[WorkerView],
    others: Iterable[WorkerView] = (),
) -> Round:
    """Gives workers to shots: how many of each tenant's the turns say, which ones `assign` does.

    `queues` are those of the claimants whose turns come first, each in the order of service of its
    tenant: priority, then age. What one cannot take, as
    its shots want other workers, the next ones may. A lone tenant is charged nothing: it takes
    nothing from anybody.
    """
    turns = {c.tenant: replace(c, turn=c.starts(now)) for c in claimants if queues.get(c.tenant)}
    alone = len(claimants) == 1
    left = {tenant: list(queues[tenant]) for tenant in turns}
    need = Counter(shot.shape for queue in left.values() for shot in queue)
    free = {w.worker: w for w in workers if (w.idle or w.ahead) and not w.leaving}
    views, everybody_else = list(free.values()), list(others)
    chosen: list[Assignment] = []
    first: dict[str, float] = {}
    able = dict(turns)
    while free and able:
        most = _allot(able, left, len(free))
        for tenant, count in most.items():
            given = assign(left[tenant], free.values(), [*everybody_else, *views], count, need)
            if given:
                first.setdefault(tenant, turns[tenant].turn)
            turns[tenant] = _charge(turns[tenant], left[tenant], given, free=alone)
            able[tenant] = turns[tenant]
            taken = {assignment.shot for assignment in given}
            left[tenant] = [shot for shot in left[tenant] if shot.shot not in taken]
            for assignment in given:
                del free[assignment.worker]
            chosen += given
            if len(given) < count or not left[tenant]:
                del able[tenant]
    served = [turns[tenant] for tenant in first]
    return Round(chosen, served, max(now, min(first.values(), default=now)))


def _allot(
    able: Mapping[str, Claimant], queues: Mapping[str, Sequence[Candidate]], free_count: int
) -> dict[str, int]:
    """How many of the free workers each tenant may have; whose turn comes first, first."""
    turns = {tenant: claimant.turn for tenant, claimant in able.items()}
    counts: dict[str, int] = {}
    for _ in range(free_count):
        waiting = [t for t in turns if counts.get(t, 0) < len(queues[t])]
        if not waiting:
            break
        tenant = min(waiting, key=lambda t: (turns[t], t))
        turns[tenant] += queues[tenant][counts.get(tenant, 0)].cost / able[tenant].weight
        counts[tenant] = counts.get(tenant, 0) + 1
    return counts


def _charge(
    claimant: Claimant, queue: Iterable[Candidate], given: Iterable[Assignment], *, free: bool
) -> Claimant:
    if free:
        return claimant
    taken = {assignment.shot for assignment in given}
    cost = sum(shot.cost for shot in queue if shot.shot in taken)
    return replace(claimant, turn=claimant.turn + cost / claimant.weight)
