from __future__ import annotations

import pytest

from farm.jobs.retry import (
    AGAINST_WORKER,
    RULES,
    UNSTARTED_LIMIT,
    History,
    MemoryProfile,
    Reason,
    is_suspect,
    judge,
)
from farm.jobs.states import ShotEvent

SMALLEST = MemoryProfile.SMALLEST


def test_every_reason_has_a_rule() -> None:
    assert set(RULES) == set(Reason)


@pytest.mark.parametrize(
    ("reason", "charged_attempt_count", "event", "ending"),
    [
        (Reason.WORKER_LOST, 1, ShotEvent.RETRY, Reason.WORKER_LOST),
        (Reason.WORKER_LOST, 2, ShotEvent.RETRY, Reason.WORKER_LOST),
        (Reason.WORKER_LOST, 3, ShotEvent.FAIL, Reason.POISON),
        (Reason.NO_PROGRESS, 2, ShotEvent.RETRY, Reason.NO_PROGRESS),
        (Reason.NO_PROGRESS, 3, ShotEvent.FAIL, Reason.NO_PROGRESS),
        (Reason.CLIP_NOT_FINITE, 1, ShotEvent.RETRY, Reason.CLIP_NOT_FINITE),
        (Reason.CLIP_NOT_FINITE, 2, ShotEvent.FAIL, Reason.CLIP_NOT_FINITE),
        (Reason.IMAGE_REJECTED, 1, ShotEvent.FAIL, Reason.IMAGE_REJECTED),
        (Reason.WORKER_DRAINED, 99, ShotEvent.RETRY, Reason.WORKER_DRAINED),
    ],
)
def test_judge(
    reason: Reason, charged_attempt_count: int, event: ShotEvent, ending: Reason
) -> None:
    verdict = judge(reason, History(charged_attempt_count))
    assert (verdict.event, verdict.reason) == (event, ending)
    assert verdict.charged is (reason is not Reason.WORKER_DRAINED)


def test_only_a_shot_that_lost_every_worker_is_poison() -> None:
    verdict = judge(Reason.WORKER_LOST, History(3, alike=False))
    assert (verdict.event, verdict.reason) == (ShotEvent.FAIL, Reason.WORKER_LOST)


def test_out_of_memory_steps_down_before_it_is_charged() -> None:
    memory, seen = MemoryProfile.AS_STARTED, []
    for _ in MemoryProfile:
        verdict = judge(Reason.OUT_OF_MEMORY, History(1, memory=memory))
        seen.append((verdict.event, verdict.charged, verdict.memory))
        memory = verdict.memory
    assert seen == [
        (ShotEvent.RETRY, False, MemoryProfile.OFFLOAD),
        (ShotEvent.RETRY, False, SMALLEST),
        (ShotEvent.RETRY, True, SMALLEST),
    ]
    assert judge(Reason.OUT_OF_MEMORY, History(3, memory=SMALLEST)).event is ShotEvent.FAIL


def test_other_reasons_keep_the_memory_profile() -> None:
    assert judge(Reason.GPU_ERROR, History(1, memory=SMALLEST)).memory is SMALLEST


@pytest.mark.parametrize("unstarted_count", range(UNSTARTED_LIMIT + 2))
def test_a_shot_that_never_began_is_charged_only_after_a_while(unstarted_count: int) -> None:
    history = History(3, started=False, unstarted_count=unstarted_count)
    verdict = judge(Reason.WORKER_LOST, history)
    charged = unstarted_count >= UNSTARTED_LIMIT
    assert verdict.charged is charged
    assert verdict.event is (ShotEvent.FAIL if charged else ShotEvent.RETRY)


def test_only_a_lost_worker_can_leave_a_shot_unstarted() -> None:
    assert judge(Reason.IMAGE_REJECTED, History(1, started=False)).event is ShotEvent.FAIL


def test_what_is_the_shots_own_fault_does_not_speak_against_a_worker() -> None:
    itself = {"IMAGE_REJECTED", "PARAMS_REJECTED", "POISON"}
    innocent = itself | {"WORKER_LOST", "WORKER_DRAINED", "DISK_FULL", "STORE_AWAY"}
    assert {str(reason) for reason in set(Reason) - AGAINST_WORKER} == innocent


def test_three_shots_make_a_worker_suspect() -> None:
    assert [is_suspect(n) for n in range(5)] == [False, False, False, True, True]
