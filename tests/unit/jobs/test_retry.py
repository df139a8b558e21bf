from __future__ import annotations

import pytest

from farm.jobs.retry import RULES, Reason, judge
from farm.jobs.states import ShotEvent


def test_every_reason_has_a_rule() -> None:
    assert set(RULES) == set(Reason)


@pytest.mark.parametrize(
    ("reason", "charged_attempt_count", "event", "ending"),
    [
        (Reason.WORKER_LOST, 1, ShotEvent.RETRY, Reason.WORKER_LOST),
        (Reason.WORKER_LOST, 2, ShotEvent.RETRY, Reason.WORKER_LOST),
        (Reason.WORKER_LOST, 3, ShotEvent.FAIL, Reason.POISON),
        (Reason.CLIP_NOT_FINITE, 1, ShotEvent.RETRY, Reason.CLIP_NOT_FINITE),
        (Reason.CLIP_NOT_FINITE, 2, ShotEvent.FAIL, Reason.CLIP_NOT_FINITE),
        (Reason.IMAGE_REJECTED, 1, ShotEvent.FAIL, Reason.IMAGE_REJECTED),
        (Reason.WORKER_DRAINED, 99, ShotEvent.RETRY, Reason.WORKER_DRAINED),
    ],
)
def test_judge(
    reason: Reason, charged_attempt_count: int, event: ShotEvent, ending: Reason
) -> None:
    verdict = judge(reason, charged_attempt_count)
    assert (verdict.event, verdict.reason) == (event, ending)
    assert verdict.charged is (reason is not Reason.WORKER_DRAINED)
