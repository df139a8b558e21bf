"""How many shots waited, and how many videos were made, minute by minute of the last hour.

Read from the attempts of the jobs that the caller sees, the newest of them: what has ended stays as
it is, and is asked for once.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field

from farm.web.farm import Calls
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2

MINUTES = 60
_JOBS = 200
_ATTEMPTS = 1000
_FRESH_S = 9.0
_KEPT = 2000


@dataclass(frozen=True)
class Seen:
    """Oldest first, a number for each minute."""

    waiting: list[int]
    done: list[int]
    whole: bool  # False: there were more jobs than are looked at
    waiting_now: int
    rendering_now: int


@dataclass
class _Of:
    """One caller's view."""

    at_s: float = -1e9
    seen: Seen | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class History:
    """The last hour, for each token."""

    def __init__(self) -> None:
        self._views: OrderedDict[str | None, _Of] = OrderedDict()
        self._attempts: OrderedDict[tuple[str, int], list[resources_pb2.Attempt]] = OrderedDict()

    async def look(self, calls: Calls) -> Seen:
        """What the caller sees, at most some seconds old. Raises AioRpcError."""
        view = self._views.setdefault(calls.token, _Of())
        self._views.move_to_end(calls.token)
        while len(self._views) > 100:
            self._views.popitem(last=False)
        async with view.lock:
            if view.seen is None or time.monotonic() - view.at_s > _FRESH_S:
                view.seen = await self._read(calls)
                view.at_s = time.monotonic()
            return view.seen

    async def _read(self, calls: Calls) -> Seen:
        page = await calls.ask(calls.render.ListJobs, pb.ListJobsRequest(page_size=_JOBS))
        now_s = time.time()
        ends_s = [now_s - 60 * (MINUTES - 1 - minute) for minute in range(MINUTES)]
        waiting, done = [0] * MINUTES, [0] * MINUTES
        rendering = 0
        for job in page.jobs:
            ended_s = job.end_time.seconds if job.HasField("end_time") else None
            if ended_s is not None and ended_s < now_s - 60 * MINUTES:
                continue
            attempts = await self._of(calls, job)
            claimed = _first_claims(attempts)
            for minute, end_s in enumerate(ends_s):
                if job.create_time.seconds <= end_s and (ended_s is None or ended_s > end_s):
                    began = bisect_right(claimed, end_s)
                    waiting[minute] += max(0, job.shot_count - job.cancelled_shot_count - began)
            for attempt in attempts:
                if not attempt.HasField("end_time"):
                    rendering += 1
                elif attempt.outcome == "SUCCEEDED":
                    minute = MINUTES - 1 - int((now_s - attempt.end_time.seconds) // 60)
                    if 0 <= minute < MINUTES:
                        done[minute] += 1
        return Seen(waiting, done, not page.next_page_token, waiting[-1], rendering)

    async def _of(self, calls: Calls, job: resources_pb2.Job) -> list[resources_pb2.Attempt]:
        key = (job.name, job.end_time.seconds)
        if key in self._attempts:
            return self._attempts[key]
        request = pb.ListAttemptsRequest(parent=job.name, page_size=_ATTEMPTS)
        attempts: list[resources_pb2.Attempt] = []
        while True:
            page = await calls.ask(calls.render.ListAttempts, request)
            attempts += page.attempts
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        if job.HasField("end_time"):
            self._attempts[key] = attempts
            while len(self._attempts) > _KEPT:
                self._attempts.popitem(last=False)
        return attempts


def _first_claims(attempts: list[resources_pb2.Attempt]) -> list[int]:
    """When each shot was first given to a worker, in order."""
    first: dict[str, int] = {}
    for attempt in attempts:
        shot = attempt.name.rpartition("/attempts/")[0]
        first.setdefault(shot, attempt.claim_time.seconds)
    return sorted(first.values())
