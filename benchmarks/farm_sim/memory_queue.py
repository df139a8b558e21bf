"""The queue of the farm's shots in memory, as `farm.store.claims` has it in a database.

It is what `farm.gateway.claiming.claim_for` reads and claims from in virtual time.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from farm.jobs.params import RenderParams
from farm.jobs.retry import MemoryProfile
from farm.jobs.schedule import Candidate, shape_of
from farm.jobs.states import ShotState
from farm.jobs.turns import Claimant, Round, in_order
from farm.store.claims import Claim, QueuedShot, Waiting
from farm.store.records import Lease, Shot, ShotKey

IMAGE_SHA256 = "a" * 64


@dataclass
class SimTenant:
    """A tenant and its shots: by priority, the highest first, then by age."""

    name: str
    weight: float = 1.0
    turn: float = 0.0
    served_turn: float = 0.0
    queues: dict[int, deque[QueuedShot]] = field(default_factory=dict)

    def head(self, limit: int) -> list[QueuedShot]:
        """The next shots in order of service."""
        ordered = (self.queues[priority] for priority in sorted(self.queues, reverse=True))
        return list(itertools.islice(itertools.chain.from_iterable(ordered), limit))


class MemoryQueue:
    """What `claim_for` wants of the store's `claims`; a connection means nothing here."""

    def __init__(self, params: RenderParams, now_s: Callable[[], float]) -> None:
        """All shots have the same `params`; the clock is only looked at."""
        self.tenants: dict[str, SimTenant] = {}
        self.claimed: dict[ShotKey, float] = {}  # when
        self.twice: list[ShotKey] = []  # shots that were claimed again: there must be none
        self._params = params
        self._shape = shape_of(params)
        self._now_s = now_s
        self._queued: dict[ShotKey, tuple[float, deque[QueuedShot]]] = {}  # when, and where
        self._jobs = itertools.count(1)
        self._job: dict[str, tuple[str, int]] = {}

    def submit(self, tenant: str, shots: int, *, priority: int = 0) -> None:
        """Queues a job."""
        number = next(self._jobs)
        self._job[f"j{number}"] = tenant, priority
        queue = self.tenants[tenant].queues.setdefault(priority, deque())
        for shot in range(1, shots + 1):
            key = ShotKey(f"j{number}", shot)
            self._queued[key] = self._now_s(), queue
            candidate = Candidate(str(key), self._shape, priority, number, shot)
            queue.append(QueuedShot(tenant, key, candidate))

    def tenant_of(self, key: ShotKey) -> str:
        """Whose shot it is."""
        return self._job[key.job_id][0]

    def priority_of(self, key: ShotKey) -> int:
        """Of its job."""
        return self._job[key.job_id][1]

    def waiting(self, _: Any, models: Collection[str], now_s: float) -> Waiting:
        """As farm.store.claims.waiting."""
        now = max(tenant.served_turn for tenant in self.tenants.values())
        found = [
            Claimant(tenant.name, tenant.weight, tenant.turn)
            for tenant in self.tenants.values()
            if any(tenant.queues.values())
        ]
        return Waiting(in_order(found, now), now)

    def queue(
        self, _: Any, models: Collection[str], limit: int, tenants: Sequence[str]
    ) -> list[QueuedShot]:
        """As farm.store.claims.queue."""
        return [shot for name in tenants for shot in self.tenants[name].head(limit)]

    def claim_all(self, _: Any, wanted: Mapping[ShotKey, str], **given: Any) -> list[Claim]:
        """As farm.store.claims.claim_all."""
        made = []
        taken: defaultdict[int, set[ShotKey]] = defaultdict(set)
        queues: dict[int, deque[QueuedShot]] = {}
        for key, worker in wanted.items():
            if key not in self._queued:
                self.twice.append(key)
                continue
            queued_s, queue = self._queued.pop(key)
            taken[id(queue)].add(key)
            queues[id(queue)] = queue
            self.claimed[key] = self._now_s()
            shot = Shot(
                key=key,
                state=ShotState.RENDERING,
                display_name="",
                output_name="",
                image_sha256=IMAGE_SHA256,
                params=self._params,
                attempt_count=1,
                worker=worker,
                render_duration_s=None,
                video=None,
                failure=None,
            )
            wait_s = self._now_s() - queued_s
            lease = Lease(key, 1, f"{key.job_id}-{key.number}")
            made.append(Claim(lease, shot, MemoryProfile.AS_STARTED, wait_s, given["now_s"]))
        for number, queue in queues.items():
            _take(queue, taken[number])
        return made

    def keep_turns(self, _: Any, before: Waiting, after: Round) -> None:
        """As farm.store.claims.keep_turns."""
        for claimant in after.served:
            tenant = self.tenants[claimant.tenant]
            tenant.turn, tenant.served_turn = claimant.turn, after.now


def _take(queue: deque[QueuedShot], taken: set[ShotKey]) -> None:
    """Takes shots out, all of which are near the head."""
    kept: list[QueuedShot] = []
    while taken:
        shot = queue.popleft()
        if shot.key in taken:
            taken.discard(shot.key)
        else:
            kept.append(shot)
    queue.extendleft(reversed(kept))
