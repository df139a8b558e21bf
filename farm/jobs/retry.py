"""The retry rule: what becomes of a shot whose attempt ended without a video."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from farm.jobs.states import ShotEvent


class Reason(enum.StrEnum):
    """Why an attempt ended without a video. Listed in docs/errors.md; never renamed."""

    WORKER_LOST = "WORKER_LOST"
    WORKER_DRAINED = "WORKER_DRAINED"
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


@dataclass(frozen=True)
class Rule:
    """How many attempts end with this reason before the shot does, and as what."""

    attempt_limit: int
    ending: Reason
    charged: bool = True  # an interruption is nobody's fault and spends no attempt


RULES: Mapping[Reason, Rule] = {
    Reason.WORKER_LOST: Rule(3, Reason.POISON),
    Reason.WORKER_DRAINED: Rule(3, Reason.WORKER_DRAINED, charged=False),
    Reason.OUT_OF_MEMORY: Rule(3, Reason.OUT_OF_MEMORY),
    Reason.GPU_ERROR: Rule(3, Reason.GPU_ERROR),
    # The same numbers on another card: worth one more try, no more.
    Reason.CLIP_NOT_FINITE: Rule(2, Reason.CLIP_NOT_FINITE),
    Reason.ENCODE_FAILED: Rule(3, Reason.ENCODE_FAILED),
    Reason.VIDEO_BROKEN: Rule(3, Reason.VIDEO_BROKEN),
    Reason.DISK_FULL: Rule(3, Reason.DISK_FULL),
    Reason.IMAGE_REJECTED: Rule(1, Reason.IMAGE_REJECTED),
    Reason.PARAMS_REJECTED: Rule(1, Reason.PARAMS_REJECTED),
    Reason.STORE_AWAY: Rule(3, Reason.STORE_AWAY, charged=False),  # it never reached a worker
    Reason.INTERNAL: Rule(3, Reason.INTERNAL),
    Reason.POISON: Rule(1, Reason.POISON),
}


@dataclass(frozen=True)
class Verdict:
    """RETRY or FAIL, the reason to record, and whether the attempt is charged to the shot."""

    event: ShotEvent
    reason: Reason
    charged: bool


def judge(reason: Reason, charged_attempt_count: int) -> Verdict:
    """What follows an attempt that ended with `reason`.

    `charged_attempt_count` includes this attempt: it was counted at the claim, so that a shot
    that kills its worker, or the gateway with it, cannot escape the count.
    """
    rule = RULES[reason]
    if not rule.charged:
        return Verdict(ShotEvent.RETRY, reason, charged=False)
    if charged_attempt_count < rule.attempt_limit:
        return Verdict(ShotEvent.RETRY, reason, charged=True)
    return Verdict(ShotEvent.FAIL, rule.ending, charged=True)
