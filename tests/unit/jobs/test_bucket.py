"""So many requests a minute."""

from __future__ import annotations

import math

import pytest

from farm.jobs.bucket import Bucket


def test_a_minutes_requests_may_come_at_once_and_then_evenly() -> None:
    bucket = Bucket.full(6, 100.0)
    assert [bucket.take(100.0) for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10.0]
    assert bucket.take(104.0) == pytest.approx(6.0)
    assert bucket.take(110.001) == 0.0
    assert bucket.take(110.001) == pytest.approx(10.0, abs=0.01)
    assert [bucket.take(1000.0) for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10.0]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket.full(1, 100.0)
    assert bucket.take(100.0) == 0.0
    assert bucket.take(0.0) == 60.0


def test_nothing_allowed_is_never_allowed() -> None:
    assert math.isinf(Bucket.full(0, 0.0).take(1e9))


def test_a_limit_that_changes_counts_at_once() -> None:
    bucket = Bucket.full(2, 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [0.0, 0.0, 30.0]
    bucket.limit(4)
    assert [bucket.take(0.0) for _ in range(3)] == [0.0, 0.0, 15.0]
    bucket.limit(1)
    assert bucket.take(0.0) == 60.0
