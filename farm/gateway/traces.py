"""What becomes of the shots that a call queued, told as spans.

    CreateJob                       the call, inside the caller's own span where it brought one
      shot                          from the call to the shot's ending
        queue                       each time in the queue
        attempt                     from claim to ending, on one worker
          wait, render, write       told by the worker, `render` with its stages inside
          upload, publish           until the video is the farm's

What has ended is read from the database: whoever claimed it may have been another gateway.
docs/TRACES.md is the promise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence

import structlog

from farm import tracing
from farm.jobs.retry import Reason
from farm.jobs.states import FINAL_SHOT_STATES, ShotState
from farm.store import attempts
from farm.store.claims import Claim
from farm.store.errors import StoreError
from farm.store.records import Attempt, Lease, Traced, spans_of
from farm.store.store import Store

log = structlog.get_logger()


class Traces:
    """Tells the spans of shots whose lease carries one; for all others it costs a look."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    def claimed(self, claim: Claim, *, warm: bool) -> None:
        """A shot has left the queue just now."""
        if claim.shot.traceparent and claim.wait_s is not None:
            shot, _ = spans_of(claim.lease.shot, claim.lease.attempt, claim.shot.traceparent)
            told = _about(claim.lease) | {"svdfarm.shape": "warm" if warm else "cold"}
            tracing.tell(shot, "queue", claim.time_s - claim.wait_s, claim.time_s, told)

    def published(self, lease: Lease, size_bytes: int, upload_s: float, publish_s: float) -> None:
        """A video has come, and was committed just now."""
        if lease.traceparent:
            now_s = time.time()
            came_s, told = now_s - publish_s, _about(lease)
            sized = told | {"svdfarm.video_bytes": size_bytes}
            tracing.tell(lease.traceparent, "upload", came_s - upload_s, came_s, sized)
            tracing.tell(lease.traceparent, "publish", came_s, now_s, told)

    def ended(self, lease: Lease) -> None:
        """An attempt has ended, and perhaps its shot."""
        if lease.traceparent and tracing.is_on():
            self._spawn(self._tell_ending(lease))

    async def queued(self, job_id: str) -> Sequence[Traced]:
        """The shots of a job that wait, before they are cancelled."""
        if not tracing.is_on():
            return ()
        return await self._store.database.read(attempts.traced, job_id, ShotState.QUEUED)

    def cancelled(self, job_id: str, queued: Sequence[Traced]) -> None:
        """Those of them that a call has asked for were cancelled in the queue."""
        if queued:
            self._spawn(self._tell_cancelled(job_id, queued))

    async def stop(self) -> None:
        """Waits for what is being told."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(tracing.flush)

    def _spawn(self, telling: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(telling)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_ending(self, lease: Lease) -> None:
        try:
            found = await self._store.database.read(attempts.ended, lease)
        except StoreError as error:
            log.warning("traces.not_told", **lease.ids, error=str(error))
            return
        if found is None:  # deleted, or queued again by a call that nobody traces
            return
        shot, attempt = found
        _tell_attempt(shot, attempt)
        if shot.state in FINAL_SHOT_STATES and shot.attempt_count == attempt.number:
            _tell_shot(shot, attempt.end_time_s or time.time())

    async def _tell_cancelled(self, job_id: str, queued: Sequence[Traced]) -> None:
        now_s, waited = time.time(), {shot.shot for shot in queued}
        try:
            found = await self._store.database.read(attempts.traced, job_id, ShotState.CANCELLED)
        except StoreError as error:
            log.warning("traces.not_told", job=f"jobs/{job_id}", error=str(error))
            return
        for shot in found:
            if shot.shot in waited:
                _tell_shot(shot, now_s)


def _tell_attempt(shot: Traced, attempt: Attempt) -> None:
    around, span = spans_of(attempt.shot, attempt.number, shot.traceparent)
    outcome = attempt.outcome or ""
    told: dict[str, str | int] = {
        "svdfarm.shot": str(attempt.shot),
        "svdfarm.attempt": attempt.number,
        "svdfarm.worker": attempt.worker,
        "svdfarm.outcome": outcome,
    }
    ended_s = attempt.end_time_s or time.time()
    failed = outcome in set(Reason)
    error = outcome if failed else ""
    tracing.tell(around, "attempt", attempt.claim_time_s, ended_s, told, error=error, span=span)


def _tell_shot(shot: Traced, ended_s: float) -> None:
    span, _ = spans_of(shot.shot, shot.attempt_count, shot.traceparent)
    told: dict[str, str | int] = {
        "svdfarm.shot": str(shot.shot),
        "svdfarm.state": str(shot.state),
        "svdfarm.attempts": shot.attempt_count,
        "svdfarm.model": shot.model,
    }
    error = shot.error_reason or "" if shot.state is ShotState.FAILED else ""
    tracing.tell(shot.traceparent, "shot", shot.time_s, ended_s, told, error=error, span=span)


def _about(lease: Lease) -> dict[str, str | int]:
    return {"svdfarm.shot": str(lease.shot), "svdfarm.attempt": lease.attempt}
