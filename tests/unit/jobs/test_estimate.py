from __future__ import annotations

import pytest

from farm.jobs.estimate import Pace, Work, estimate

XT = Work("svd-xt", 1024, 576, 25, 25)
DRAFT = Work("svd-xt", 512, 320, 25, 25)
TINY = Work("tiny", 256, 144, 14, 5)


def test_clips_of_a_kind_take_their_median() -> None:
    pace = Pace([(XT, 60.0), (XT, 8.0), (XT, 9.0)])  # the first one compiled
    assert pace.seconds(XT) == 9.0
    assert pace.knows(XT)


def test_a_kind_never_rendered_is_scaled_from_the_nearest_of_its_model() -> None:
    pace = Pace([(XT, 9.0), (DRAFT, 4.0)])
    half = XT._replace(step_count=12)
    assert pace.seconds(half) == pytest.approx(9.0 * 13 / 26)
    smaller = DRAFT._replace(height_px=256)
    assert pace.seconds(smaller) == pytest.approx(4.0 * 256 / 320)
    assert not pace.knows(half)


def test_nobody_can_tell_of_a_model_that_has_not_rendered() -> None:
    found = estimate(Pace([(XT, 9.0)]), {XT: 2, TINY: 3}, {}, worker_count=1)
    assert (found.gpu_s, found.unknown_count, found.finish_s) == (18.0, 3, None)


@pytest.mark.parametrize(
    ("count", "ahead", "workers", "finish_s"),
    [
        (8, {}, 2, 36.0),
        (8, {XT: 4}, 2, 54.0),
        (1, {}, 4, 9.0),  # no clip is shared
        (8, {TINY: 5}, 2, 36.0),  # what cannot be told is not counted
        (8, {}, 0, None),
    ],
)
def test_a_job_is_done_when_its_workers_have_done_it_and_what_goes_first(
    count: int, ahead: dict[Work, int], workers: int, finish_s: float | None
) -> None:
    found = estimate(Pace([(XT, 9.0)]), {XT: count}, ahead, workers)
    assert found.gpu_s == 9.0 * count
    assert found.finish_s == finish_s


def test_scaled_shots_are_counted() -> None:
    found = estimate(Pace([(XT, 9.0)]), {XT: 2, DRAFT: 3}, {}, worker_count=1)
    assert found.scaled_count == 3


def test_what_is_there_already_waits_for_nobody() -> None:
    found = estimate(Pace([]), {}, {XT: 9}, worker_count=0)
    assert (found.gpu_s, found.ahead_s, found.finish_s) == (0.0, 0.0, 0.0)
