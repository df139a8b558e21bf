from __future__ import annotations

import itertools

import pytest

from farm.jobs.states import (
    FINAL_SHOT_STATES,
    TRANSITIONS,
    JobState,
    ShotCounts,
    ShotEvent,
    ShotState,
    TransitionRefused,
    Wish,
    follow,
    job_state,
)


@pytest.mark.parametrize(("state", "event"), [*itertools.product(ShotState, ShotEvent)])
def test_only_what_the_table_lists_can_happen(state: ShotState, event: ShotEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert follow(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(TransitionRefused, match=state):
            follow(state, event)


def test_only_a_requeue_leaves_an_end_and_never_success() -> None:
    left = {(state, event) for state, event in TRANSITIONS if state in FINAL_SHOT_STATES}
    assert left == {
        (ShotState.FAILED, ShotEvent.REQUEUE),
        (ShotState.CANCELLED, ShotEvent.REQUEUE),
    }
    assert {after for (_, event), after in TRANSITIONS.items() if event is ShotEvent.REQUEUE} == {
        ShotState.QUEUED
    }


def test_every_state_is_reached_and_every_life_can_end() -> None:
    assert {*TRANSITIONS.values(), ShotState.QUEUED} == set(ShotState)
    for state in set(ShotState) - FINAL_SHOT_STATES:
        assert [end for (before, _), end in TRANSITIONS.items() if before is state]


@pytest.mark.parametrize(
    ("counts", "started", "wish", "expected"),
    [
        (ShotCounts(queued=2), False, Wish.RUN, JobState.QUEUED),
        (ShotCounts(queued=1, rendering=1), True, Wish.RUN, JobState.RUNNING),
        # A lost shot is queued again: the job goes on running.
        (ShotCounts(queued=2), True, Wish.RUN, JobState.RUNNING),
        (ShotCounts(queued=1, succeeded=1), True, Wish.PAUSE, JobState.PAUSED),
        (ShotCounts(rendering=1, cancelled=1), True, Wish.CANCEL, JobState.CANCELLING),
        (ShotCounts(succeeded=2), True, Wish.RUN, JobState.SUCCEEDED),
        (ShotCounts(succeeded=1, failed=1), True, Wish.RUN, JobState.FAILED),
        (ShotCounts(succeeded=1, cancelled=1), True, Wish.CANCEL, JobState.CANCELLED),
        (ShotCounts(failed=1, cancelled=1), True, Wish.CANCEL, JobState.CANCELLED),
        # Cancelled one by one: the others tell.
        (ShotCounts(succeeded=1, cancelled=3), True, Wish.RUN, JobState.SUCCEEDED),
        (ShotCounts(succeeded=1, failed=1, cancelled=1), True, Wish.PAUSE, JobState.FAILED),
        (ShotCounts(cancelled=2), True, Wish.RUN, JobState.CANCELLED),
        (ShotCounts(queued=1, cancelled=1), False, Wish.RUN, JobState.QUEUED),
        # The last shot was faster than the wish to cancel it.
        (ShotCounts(succeeded=2), True, Wish.CANCEL, JobState.SUCCEEDED),
    ],
)
def test_job_state_follows_from_its_shots(
    counts: ShotCounts, started: bool, wish: Wish, expected: JobState
) -> None:
    assert job_state(counts, started=started, wish=wish) is expected
