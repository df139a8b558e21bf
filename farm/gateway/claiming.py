"""Claims shots for free workers, in one transaction: whose turn it is, and which shots they are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection

from farm.jobs.schedule import MAX_OVERTAKES, Candidate, WorkerView
from farm.jobs.turns import Round, share
from farm.store import claims, workers
from farm.store.claims import Claim, QueuedShot, Waiting
from farm.store.clock import Instant

# Shots looked at for each free worker: enough to pass over those that wait for one that has not
# failed them. Only where that finds no warm shot for each, as far as one may be passed over.
_LOOK_AHEAD = 4
_LOOK_FAR_AHEAD = MAX_OVERTAKES


def claim_for(
    conn: Connection,
    free: Sequence[WorkerView],
    others: Sequence[WorkerView],
    expiry_s: Instant,
    heard_since_s: Instant,
    now_s: float,
    gateway: str,
) -> list[Claim]:
    """Claims what `share` chooses; it prefers a worker of another gateway where one is."""
    claimed: list[Claim] = []
    seen: set[str] = set()
    left = list(free)
    while left:
        models = {model for view in left for model in view.models}
        waiting = claims.waiting(conn, models, now_s)
        new = [c.tenant for c in waiting.claimants if c.tenant not in seen]
        # As many as may be served. Where their shots want other workers, it is the next ones' turn.
        looked_at = new[: len(left)]
        if not looked_at:
            break
        queued, told = _share(conn, waiting, looked_at, left, others, heard_since_s, gateway)
        keys = {str(q.key): q.key for q in queued}
        for given in told.assignments:
            claim = claims.claim(
                conn,
                keys[given.shot],
                given.worker,
                expiry_s=expiry_s,
                now_s=now_s,
                gateway=gateway,
            )
            if claim is not None:
                claimed.append(claim)
        claims.keep_turns(conn, waiting, told)
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
    others: Sequence[WorkerView],
    heard_since_s: Instant,
    gateway: str,
) -> tuple[list[QueuedShot], Round]:
    """The shots of these tenants that were looked at, and who of `free` gets which."""
    models = {model for view in free for model in view.models}
    near = len(free) * _LOOK_AHEAD
    for limit in (near, near + _LOOK_FAR_AHEAD):
        each = math.ceil(limit / len(tenants))
        queued = claims.queue(conn, models, each, tenants)
        queues: defaultdict[str, list[Candidate]] = defaultdict(list)
        for shot in queued:
            queues[shot.tenant].append(shot.candidate)
        everyone = list(others)
        if any(shot.candidate.failed_on for shot in queued):
            elsewhere = workers.taking(conn, heard_since_s, but_at=gateway)
            everyone += [WorkerView(name, served) for name, served in elsewhere.items()]
        told = share(queues, waiting.claimants, waiting.now, free, everyone)
        all_warm = len(told.assignments) == len(free) and all(a.warm for a in told.assignments)
        if all_warm or all(len(queue) < each for queue in queues.values()):
            break
    return queued, told
