"""What the scheduling does for a farm, in hours of virtual time."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from farm.jobs.schedule import Candidate, Shape
from tests.unit.jobs.farm_in_virtual_time import Farm, Times

SHAPES = [Shape("svd", width_px=64 * n) for n in range(1, 9)]
OVERTAKES = 128  # that any shot may see, as docs/decisions/0017 promises
COMPILED = Times(compile_s=0.0)

Arrivals = list[tuple[float, Candidate]]


def arrivals(
    seed: int, shot_count: int, every_s: float, *, shot_limit: int = 20, priorities: int = 1
) -> Arrivals:
    """Jobs of random size, shapes and priority; a shot every so often in the mean."""
    draw = random.Random(seed)
    found: Arrivals = []
    now_s = 0.0
    for job in range(1, shot_count):
        size = draw.randint(1, shot_limit)
        priority = draw.randrange(priorities)
        for number in range(1, size + 1):
            shape = draw.choice(SHAPES)
            found.append((now_s, Candidate(f"{job}/{number}", shape, priority, job, number)))
        if len(found) >= shot_count:
            return found
        now_s += draw.expovariate(1 / (every_s * size)) if every_s else 0.0
    return found


def one_shape(jobs: Arrivals) -> Arrivals:
    return [
        (time_s, Candidate(s.shot, SHAPES[0], s.priority, s.job_number, s.number))
        for time_s, s in jobs
    ]


def test_a_device_hardly_waits_while_shots_are_queued() -> None:
    backlog = one_shape(arrivals(1, 400, 0.0))
    shares = {}
    for send_ahead in (True, False):
        farm = Farm(4, times=COMPILED, send_ahead=send_ahead)
        farm.run(backlog)
        shares[send_ahead] = farm.idle_share
    assert shares[True] < 0.001
    assert shares[False] > 0.01


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_sending_ahead_keeps_nobody_waiting(load: float) -> None:
    """A shot that waits behind another one might have found a worker that was idle sooner."""
    jobs = one_shape(arrivals(2, 2000, 8.0 / 4 / load, shot_limit=1))
    waits_s = {}
    for send_ahead in (True, False):
        farm = Farm(4, times=COMPILED, send_ahead=send_ahead)
        farm.run(jobs)
        waits_s[send_ahead] = farm.waits_s
    assert fmean(waits_s[True]) <= fmean(waits_s[False])
    assert max(waits_s[True]) <= max(waits_s[False]) + 0.2 * COMPILED.render_s


@pytest.mark.parametrize(("graph_count", "fewer"), [(1, 3), (2, 5), (8, 2)])
def test_far_fewer_shots_wait_for_a_compiler(graph_count: int, fewer: int) -> None:
    jobs = arrivals(3, 800, 0.0)
    compiles = {}
    for know_warm in (True, False):
        farm = Farm(8, graph_count=graph_count, know_warm=know_warm)
        farm.run(jobs)
        compiles[know_warm] = farm.compile_count
        assert max(life.overtaken_count for life in farm.lives.values()) <= OVERTAKES
    assert compiles[True] * fewer <= compiles[False]


@pytest.mark.parametrize("shots_per_job", [1, 8, 100, 1000])
@pytest.mark.parametrize("same_job", [False, True])
def test_a_cold_shot_is_served_within_its_bound_however_many_warm_ones_come(
    shots_per_job: int, same_job: bool
) -> None:
    cold = Candidate("cold", SHAPES[1], 0, job_number=2, number=1)
    stream = [(0.0, Candidate(f"1/{n}", SHAPES[0], 0, 1, n)) for n in range(1, 5)]
    stream.append((0.1, cold))
    for serial in range(600):
        job, number = serial // shots_per_job + 3 - same_job, serial % shots_per_job + 1
        number += job == cold.job_number
        stream.append((0.2, Candidate(f"{job}/{number}", SHAPES[0], 0, job, number)))
    farm = Farm(2, times=Times(compile_s=30.0), graph_count=1)
    farm.run(stream)
    life = farm.lives["cold"]
    assert 0 < life.overtaken_count <= OVERTAKES
    # Four shots before it, two workers, which may begin with the other shape.
    assert life.wait_s <= (4 + OVERTAKES + 1) / 2 * farm.times.render_s + farm.times.compile_s


@pytest.mark.parametrize("seed", range(5))
def test_priority_is_strict_and_nobody_is_passed_over_too_often(seed: int) -> None:
    """`Farm` looks at each choice: nothing of a higher priority is left in the queue."""
    farm = Farm(3, graph_count=2)
    farm.run(arrivals(seed, 600, 4.0, priorities=3))
    lives = farm.lives.values()
    assert max(life.overtaken_count for life in lives) <= OVERTAKES
    waits_s = [fmean(x.wait_s for x in lives if x.shot.priority == p) for p in (0, 2)]
    assert waits_s[1] < waits_s[0] / 4
