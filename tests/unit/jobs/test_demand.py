"""How many workers a group is to have, as tables."""

from __future__ import annotations

import pytest

from farm.jobs.demand import Bounds, Demand, Need, scale

BOUNDS = Bounds(min_workers=0, max_workers=8, idle_s=60)


@pytest.mark.parametrize(
    ("queued", "busy", "withdrawn", "needed"),
    [
        (0, 0, 0, 0),
        (3, 0, 0, 3),
        (3, 2, 0, 5),
        (0, 2, 0, 2),
        (3, 2, 1, 6),  # a cordoned one has its place and takes nothing: another has to come
        (0, 2, 1, 2),  # and none is kept for its sake
        (20, 2, 0, 8),
    ],
)
def test_nothing_waits_and_nothing_that_renders_is_stopped(
    queued: int, busy: int, withdrawn: int, needed: int
) -> None:
    past = (Need(9.0, 0),)
    assert scale(Demand(queued, busy, withdrawn), 0, past, 10.0, BOUNDS)[0] == needed


@pytest.mark.parametrize(("low", "high", "queued", "count"), [(2, 8, 0, 2), (2, 3, 5, 3)])
def test_a_group_stays_within_its_bounds(low: int, high: int, queued: int, count: int) -> None:
    bounds = Bounds(low, high, 60)
    assert scale(Demand(queued), 0, (Need(9.0, 0),), 10.0, bounds)[0] == count


def run(*told: tuple[float, Demand | None], start: int = 0, bounds: Bounds = BOUNDS) -> list[int]:
    """The numbers of workers where the gateway says this at these times."""
    target, past, counts = start, (), []
    for now_s, demand in told:
        target, past = scale(demand, target, past, now_s, bounds)
        counts.append(target)
    return counts


def test_fewer_only_when_they_were_not_needed_for_so_long() -> None:
    assert run(
        (0, Demand(4)),
        (1, Demand(0, 4)),
        (30, Demand(0, 2)),
        (60, Demand(0, 1)),  # four were needed 59 s ago
        (61, Demand(0, 1)),  # two were 31 s ago
        (89, Demand(0, 1)),
        (90, Demand(0, 1)),
        (120, Demand()),
        (149, Demand()),
        (150, Demand()),
    ) == [4, 4, 4, 4, 2, 2, 1, 1, 1, 0]


def test_a_queue_that_comes_and_goes_does_not_flap() -> None:
    told = [(10.0 * n, Demand(n % 2 * 3)) for n in range(1, 20)]
    assert set(run(*told)) == {3}


def test_a_cold_start_that_takes_longer_than_idle_s_is_not_cut_off() -> None:
    told = [(float(now_s), Demand(2)) for now_s in range(0, 600, 10)]
    assert set(run(*told)) == {2}


@pytest.mark.parametrize("start", [0, 5])
def test_the_number_stays_while_the_gateway_is_away(start: int) -> None:
    assert run((0, None), (1000, None), start=start) == [start, start]


def test_nobody_goes_at_once_when_the_gateway_is_back() -> None:
    told = [(0, None), (1000, None), (1001, Demand()), (1059, Demand()), (1060, Demand())]
    assert run(*told, start=5) == [5, 5, 5, 5, 0]


def test_a_policy_that_was_made_anew_stops_nobody_at_once() -> None:
    assert run((0, Demand()), (59, Demand()), (60, Demand()), start=5) == [5, 5, 0]


def test_without_idle_s_nobody_is_kept() -> None:
    bounds = Bounds(0, 8, 0)
    assert run((0, Demand(3)), (1, Demand(0, 1)), (2, Demand()), bounds=bounds) == [3, 1, 0]


def test_the_past_does_not_grow() -> None:
    past: tuple[Need, ...] = ()
    for now in range(1000):
        _, past = scale(Demand(now % 7), 0, past, float(now), BOUNDS)
    assert len(past) <= 7
