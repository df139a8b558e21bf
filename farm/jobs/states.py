"""The life of shots and jobs: every state, and the one table of what may follow what."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class ShotState(enum.StrEnum):
    """Where a shot is in its life."""

    QUEUED = "QUEUED"  # waiting for a worker, for the first time or again
    RENDERING = "RENDERING"  # a worker holds its lease
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ShotEvent(enum.StrEnum):
    """What can happen to a shot."""

    CLAIM = "CLAIM"  # a worker takes it: a new attempt
    SUCCEED = "SUCCEED"
    RETRY = "RETRY"  # the attempt is over without an ending: lost, interrupted or retryable
    FAIL = "FAIL"
    CANCEL = "CANCEL"
    REQUEUE = "REQUEUE"  # its owner opens a new round: attempts go on, none of them is charged


class JobState(enum.StrEnum):
    """Where a job is in its life. It follows from its shots and its owner's wish."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Wish(enum.StrEnum):
    """What a job's owner asked for; CANCEL also for single shots of it."""

    RUN = "RUN"
    PAUSE = "PAUSE"
    CANCEL = "CANCEL"


TRANSITIONS: Mapping[tuple[ShotState, ShotEvent], ShotState] = {
    (ShotState.QUEUED, ShotEvent.CLAIM): ShotState.RENDERING,
    (ShotState.QUEUED, ShotEvent.CANCEL): ShotState.CANCELLED,
    (ShotState.RENDERING, ShotEvent.SUCCEED): ShotState.SUCCEEDED,
    (ShotState.RENDERING, ShotEvent.RETRY): ShotState.QUEUED,
    (ShotState.RENDERING, ShotEvent.FAIL): ShotState.FAILED,
    (ShotState.RENDERING, ShotEvent.CANCEL): ShotState.CANCELLED,
    (ShotState.FAILED, ShotEvent.REQUEUE): ShotState.QUEUED,
    (ShotState.CANCELLED, ShotEvent.REQUEUE): ShotState.QUEUED,
}

FINAL_SHOT_STATES = frozenset({ShotState.SUCCEEDED, ShotState.FAILED, ShotState.CANCELLED})
REQUEUED_STATES = frozenset(
    before for before, event in TRANSITIONS if event is ShotEvent.REQUEUE
)  # never SUCCEEDED: a video, once published, stays
FINAL_JOB_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class TransitionRefused(ValueError):
    """This event cannot happen to a shot in this state."""


def follow(state: ShotState, event: ShotEvent) -> ShotState:
    """The state after `event`. Raises TransitionRefused where the table has no entry."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise TransitionRefused(f"{event} cannot happen to a shot that is {state}") from None


@dataclass(frozen=True)
class ShotCounts:
    """How many of a job's shots are in each state."""

    queued: int = 0
    rendering: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


def job_state(counts: ShotCounts, *, started: bool, wish: Wish) -> JobState:
    """The state of a job; `started` says whether any of its shots was ever claimed.

    Shots that were cancelled one by one are no longer wanted: how such a job ends is up to the
    others, and CANCELLED only where there are none.
    """
    if counts.queued == counts.rendering == 0:
        if counts.cancelled and (wish is Wish.CANCEL or not counts.succeeded + counts.failed):
            return JobState.CANCELLED
        return JobState.FAILED if counts.failed else JobState.SUCCEEDED
    if wish is Wish.CANCEL:
        return JobState.CANCELLING
    if wish is Wish.PAUSE:
        return JobState.PAUSED
    return JobState.RUNNING if started else JobState.QUEUED
