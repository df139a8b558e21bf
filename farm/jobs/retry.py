"""The retry rule: what becomes of a shot whose attempt ended without a video, and of its worker."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from farm.jobs.states import ShotEvent


class Reason(enum.StrEnum):
    """Why an attempt ended without a video. Listed in docs/errors.md; never renamed."""

    WORKER_LOST = "WORKER_LOST"
    WORKER_DRAINED = "WORKER_DRAINED"
    NO_PROGRESS = "NO_PROGRESS"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    GPU_ERROR = "GPU_ERROR"
    CLIP_NOT_FINITE = "CLIP_NOT_FINITE"
    ENCODE_FAILED = "ENCODE_FAILED"
    VIDEO_BROKEN = "VIDEO_BROKEN"
    DISK_FULL = "DISK_FULL"
    IMAGE_REJECTED = "IMAGE_REJECTED"
    PARAMS_REJECTED = "PARAMS_REJECTED"
    STORE_AWAY = "STORE_AWAY"
    INTERNAL = "INTERNAL"
    POISON = "POISON"  # the ending of a shot that lost its worker again and again


class MemoryProfile(enum.IntEnum):
    """How many of the engine's memory profiles below its own a worker is to render with.

    fast, balanced, low (farm.render.memory); a worker that has the last one keeps it. The pixels
    are equal to within rounding. The names are the wire's.
    """

    AS_STARTED = 0
    OFFLOAD = 1
    SMALLEST = 2


@dataclass(frozen=True)
class Rule:
    """After how many charged attempts one that ends so ends the shot, and as what.

    Charged attempts are counted together, whatever each ended with: how often a shot is rendered
    is bounded by one number, and one that fails in several ways is not worth more tries.
    """

    attempt_limit: int
    ending: Reason  # where every charged attempt ended so; else the reason itself
    charged: bool = True  # an interruption is nobody's fault and spends no attempt
    speaks_against_worker: bool = False  # where the shot succeeds at another one


RULES: Mapping[Reason, Rule] = {
    # A worker that dies comes back under another name: this would only ever be counted against one
    # that had been cut off.
    Reason.WORKER_LOST: Rule(3, Reason.POISON),
    Reason.WORKER_DRAINED: Rule(3, Reason.WORKER_DRAINED, charged=False),
    Reason.NO_PROGRESS: Rule(3, Reason.NO_PROGRESS, speaks_against_worker=True),
    Reason.OUT_OF_MEMORY: Rule(3, Reason.OUT_OF_MEMORY, speaks_against_worker=True),
    Reason.GPU_ERROR: Rule(3, Reason.GPU_ERROR, speaks_against_worker=True),
    # The same numbers on another card: worth one more try, no more.
    Reason.CLIP_NOT_FINITE: Rule(2, Reason.CLIP_NOT_FINITE, speaks_against_worker=True),
    Reason.ENCODE_FAILED: Rule(3, Reason.ENCODE_FAILED, speaks_against_worker=True),
    Reason.VIDEO_BROKEN: Rule(3, Reason.VIDEO_BROKEN, speaks_against_worker=True),
    Reason.DISK_FULL: Rule(3, Reason.DISK_FULL),
    Reason.IMAGE_REJECTED: Rule(1, Reason.IMAGE_REJECTED),
    Reason.PARAMS_REJECTED: Rule(1, Reason.PARAMS_REJECTED),
    Reason.STORE_AWAY: Rule(3, Reason.STORE_AWAY, charged=False),  # it never reached a worker
    Reason.INTERNAL: Rule(3, Reason.INTERNAL, speaks_against_worker=True),
    Reason.POISON: Rule(1, Reason.POISON),
}

CHARGED = frozenset(reason for reason, rule in RULES.items() if rule.charged)
AGAINST_WORKER = frozenset(reason for reason, rule in RULES.items() if rule.speaks_against_worker)

# Workers that may be lost with a shot that they had not begun, before that is charged as well: a
# shot that kills so fast that nobody hears of its beginning must end too.
UNSTARTED_LIMIT = 3

CORDON_SHOTS = 3  # that failed at a worker and succeeded at others, before it is given no more


class CordonReason(enum.StrEnum):
    """Why a worker is given no shots. Listed in docs/errors.md; never renamed."""

    SHOTS_FAILED = "SHOTS_FAILED"  # here, and succeeded elsewhere
    CANARY_FAILED = "CANARY_FAILED"


@dataclass(frozen=True)
class History:
    """What the rule looks at, besides the reason."""

    # Includes this attempt: it was counted at the claim, so that a shot that kills its worker, or
    # the gateway with it, cannot escape the count.
    charged_attempt_count: int
    alike: bool = True  # the charged attempts before it ended with the same reason
    started: bool = True  # the worker said that it began
    unstarted_count: int = 0  # attempts before this one that were lost before they began
    memory: MemoryProfile = MemoryProfile.AS_STARTED  # of this attempt


@dataclass(frozen=True)
class Verdict:
    """RETRY or FAIL, the reason to record, and whether the attempt is charged to the shot."""

    event: ShotEvent
    reason: Reason
    charged: bool
    memory: MemoryProfile = MemoryProfile.AS_STARTED  # of the next attempt


def judge(reason: Reason, history: History) -> Verdict:
    """What follows an attempt that ended with `reason`."""
    rule, memory = RULES[reason], history.memory
    if reason is Reason.OUT_OF_MEMORY and memory < MemoryProfile.SMALLEST:
        smaller = MemoryProfile(memory + 1)
        return Verdict(ShotEvent.RETRY, reason, charged=False, memory=smaller)
    if not rule.charged or _was_bystander(reason, history):
        return Verdict(ShotEvent.RETRY, reason, charged=False, memory=memory)
    if history.charged_attempt_count < rule.attempt_limit:
        return Verdict(ShotEvent.RETRY, reason, charged=True, memory=memory)
    ending = rule.ending if history.alike else reason
    return Verdict(ShotEvent.FAIL, ending, charged=True, memory=memory)


def _was_bystander(reason: Reason, history: History) -> bool:
    lost_unstarted = reason is Reason.WORKER_LOST and not history.started
    return lost_unstarted and history.unstarted_count < UNSTARTED_LIMIT


def is_suspect(shot_count: int) -> bool:
    """Whether a worker is cordoned at which so many shots failed that succeeded elsewhere."""
    return shot_count >= CORDON_SHOTS
