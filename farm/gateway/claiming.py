"""Claims shots for free workers, in one transaction: whose turn it is, and which shots they are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from sqlalchemy import Connection

from farm.jobs.schedule import MAX_OVERTAKES, Candidate, WorkerView
from farm.jobs.turns import Round, share
from farm.store import claims, workers
from farm.store.claims import Claim, QueuedShot, Waiting
from farm.store.clock import Instant
from farm.store.records import ShotKey

# Shots looked at of each tenant: one for each free worker, and some to pass over that wait for one
# that has not failed them. Of many tenants fewer: for each free worker so many, of all together.
# Only where that finds no warm shot for each, as far as one may be passed over.
_SPARE = 8
_LOOK_AHEAD = 4
_LOOK_FAR_AHEAD = MAX_OVERTAKES


class Shots(Protocol):
    """The queue: `farm.store.claims`, or one without a database in simulations."""

    def waiting(self, conn: Connection, models: Collection[str], now_s: float) -> Waiting: ...  # noqa: D102 - see there, as below

    def queue(  # noqa: D102
        self, conn: Connection, models: Collection[str], limit: int, tenants: Sequence[str]
    ) -> list[QueuedShot]: ...

    def claim_all(  # noqa: D102
        self,
        conn: Connection,
        wanted: Mapping[ShotKey, str],
        *,
        expiry_s: Instant,
        now_s: float,
        gateway: str | None,
    ) -> list[Claim]: ...

    def keep_turns(self, conn: Connection, before: Waiting, after: Round) -> None: ...  # noqa: D102


def claim_for(
    conn: Connection,
    free: Sequence[WorkerView],
    others: Callable[[], Sequence[WorkerView]],
    expiry_s: Instant,
    heard_since_s: Instant,
    now_s: float,
    gateway: str,
    shots: Shots = claims,
) -> list[Claim]:
    """Claims what `share` chooses for these workers.

    A shot that failed on one of them goes to `others` of this gateway, or to those of another one,
    where there are any; they are looked up only then. `shots` are those of `conn`'s database.
    """
    claimed: list[Claim] = []
    seen: set[str] = set()
    left = list(free)
    while left:
        models = {model for view in left for model in view.models}
        waiting = shots.waiting(conn, models, now_s)
        new = [c.tenant for c in waiting.claimants if c.tenant not in seen]
        # As many as may be served. Where their shots want other workers, it is the next ones' turn.
        looked_at = new[: len(left)]
        if not looked_at:
            break
        queued, told = _share(conn, waiting, looked_at, left, others, heard_since_s, gateway, shots)
        keys = {str(q.key): q.key for q in queued}
        wanted = {keys[given.shot]: given.worker for given in told.assignments}
        claimed += shots.claim_all(conn, wanted, expiry_s=expiry_s, now_s=now_s, gateway=gateway)
        shots.keep_turns(conn, waiting, told)
        busy = {given.worker for given in told.assignments}
        left = [view for view in left if view.worker not in busy]
        seen.update(looked_at)
        if len(looked_at) == len(new):
            break
    return claimed


def _share(
    conn: Connection,
    waiting: Waiting,
    tenants: Sequence[str],
    free: Sequence[WorkerView],
    others: Callable[[], Sequence[WorkerView]],
    heard_since_s: Instant,
    gateway: str,
    shots: Shots,
) -> tuple[list[QueuedShot], Round]:
    """The shots of these tenants that were looked at, and who of `free` gets which."""
    models = {model for view in free for model in view.models}
    of_all = len(free) * _LOOK_AHEAD
    near = min(len(free) + _SPARE, math.ceil(of_all / len(tenants)))
    for each in (near, math.ceil((of_all + _LOOK_FAR_AHEAD) / len(tenants))):
        queued = shots.queue(conn, models, each, tenants)
        queues: defaultdict[str, list[Candidate]] = defaultdict(list)
        for shot in queued:
            queues[shot.tenant].append(shot.candidate)
        everyone: list[WorkerView] = []
        if any(shot.candidate.failed_on for shot in queued):
            everyone += others()
            elsewhere = workers.taking(conn, heard_since_s, but_at=gateway)
            everyone += [WorkerView(name, served) for name, served in elsewhere.items()]
        told = share(queues, waiting.claimants, waiting.now, free, everyone)
        all_warm = len(told.assignments) == len(free) and all(a.warm for a in told.assignments)
        if all_warm or all(len(queue) < each for queue in queues.values()):
            break
    return queued, told
