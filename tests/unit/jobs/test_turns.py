"""Whose turn it is, as a table and in virtual time."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from farm.jobs.schedule import Candidate, Shape, WorkerView
from farm.jobs.turns import Claimant, share

SHAPE, OTHER = Shape("svd"), Shape("other")


def shots(tenant: str, count: int, *, cost: float = 1.0, shape: Shape = SHAPE) -> list[Candidate]:
    return [Candidate(f"{tenant}/{n}", shape, number=n, cost=cost) for n in range(1, count + 1)]


def idle(count: int, model: str = "svd", **given: object) -> list[WorkerView]:
    models = frozenset({model})
    return [WorkerView(f"{model}{n}", models, idle=True, **given) for n in range(count)]  # type: ignore[arg-type]


def owners(assignments: list) -> Counter[str]:  # type: ignore[type-arg]
    return Counter(assignment.shot.partition("/")[0] for assignment in assignments)


@pytest.mark.parametrize(
    ("claimants", "now", "worker_count", "expected"),
    [
        # Equal ones halve what there is; the name decides the odd one.
        ([("a", 1, 0), ("b", 1, 0)], 0, 4, {"a": 2, "b": 2}),
        ([("a", 1, 0), ("b", 1, 0)], 0, 1, {"a": 1}),
        ([("a", 1, 1), ("b", 1, 0)], 0, 1, {"b": 1}),
        # By weight.
        ([("a", 1, 0), ("b", 3, 0)], 0, 8, {"a": 2, "b": 6}),
        ([("a", 0.001, 0), ("b", 1000, 0)], 0, 9, {"a": 1, "b": 8}),
        # Who was away starts where the farm is: it is owed nothing.
        ([("a", 1, 100), ("b", 1, 0)], 100, 4, {"a": 2, "b": 2}),
        # Who had more than its part waits until the others have caught up.
        ([("a", 1, 103), ("b", 1, 100)], 100, 5, {"a": 1, "b": 4}),
    ],
)
def test_turns_by_the_table(
    claimants: list[tuple[str, float, float]],
    now: float,
    worker_count: int,
    expected: dict[str, int],
) -> None:
    queues = {name: shots(name, 50) for name, _, _ in claimants}
    told = share(queues, [Claimant(*c) for c in claimants], now, idle(worker_count))
    assert owners(told.assignments) == expected
    assert {c.tenant for c in told.served} == set(expected)
    assert told.now == now


def test_what_one_cannot_take_the_next_may() -> None:
    queues = {"a": shots("a", 9, shape=OTHER), "b": shots("b", 9)}
    claimants = [Claimant("a", 1, 0), Claimant("b", 1, 50)]
    told = share(queues, claimants, 0, [*idle(3), *idle(1, "other")])
    assert owners(told.assignments) == {"a": 1, "b": 3}


def test_a_few_shots_leave_the_rest_to_others() -> None:
    queues = {"a": shots("a", 1), "b": shots("b", 50)}
    told = share(queues, [Claimant("a", 1, 0), Claimant("b", 1, 9)], 0, idle(8))
    assert owners(told.assignments) == {"a": 1, "b": 7}


def test_a_large_shot_counts_as_several() -> None:
    queues = {"a": shots("a", 50, cost=3.0), "b": shots("b", 50)}
    told = share(queues, [Claimant("a", 1, 0), Claimant("b", 1, 0)], 0, idle(8))
    assert owners(told.assignments) == {"a": 2, "b": 6}
    assert {c.tenant: c.turn for c in told.served} == {"a": 6.0, "b": 6.0}


def test_priorities_hold_within_a_tenant_alone() -> None:
    high = [Candidate(f"a/{n}", SHAPE, priority=100, number=n) for n in range(1, 9)]
    queues = {"a": high, "b": shots("b", 8)}
    told = share(queues, [Claimant("a", 1, 0), Claimant("b", 1, 0)], 0, idle(4))
    assert owners(told.assignments) == {"a": 2, "b": 2}


def test_a_lone_tenant_is_charged_nothing_and_time_comes_to_it() -> None:
    told = share({"a": shots("a", 9)}, [Claimant("a", 1, 7.0)], 2.0, idle(4))
    assert (told.served, told.now) == ([Claimant("a", 1, 7.0)], 7.0)


def test_whose_queue_was_not_looked_at_waits_all_the_same() -> None:
    claimants = [Claimant("a", 1, 0.0), Claimant("b", 1, 5.0)]
    told = share({"a": shots("a", 9)}, claimants, 0.0, idle(1))
    assert told.served == [Claimant("a", 1, 1.0)]  # it is not alone, and is charged


def test_a_warm_worker_goes_to_a_shot_of_its_shape() -> None:
    warm = WorkerView("warm", frozenset({"svd"}), idle=True, warm=(Shape("svd", 2),))
    queues = {"a": shots("a", 2), "b": shots("b", 2, shape=Shape("svd", 2))}
    told = share(queues, [Claimant("a", 1, 0), Claimant("b", 1, 0)], 0, [warm, *idle(1)])
    assert {a.shot: a.worker for a in told.assignments} == {"a/1": "svd0", "b/1": "warm"}


class Farm:
    """Workers that are free again at their own times, and tenants whose turns are kept."""

    def __init__(self, weights: Mapping[str, float], worker_count: int, seed: int) -> None:
        self.turns = {t: Claimant(t, weight, 0.0) for t, weight in weights.items()}
        self.queues: dict[str, list[Candidate]] = {t: [] for t in weights}
        self.free_s = {f"svd{n}": 0.0 for n in range(worker_count)}
        self.served: list[tuple[float, str, float]] = []  # time, tenant, cost
        self.now, self.now_s = 0.0, 0.0
        self.draw = random.Random(seed)
        self.numbers = itertools.count(1)

    def add(self, tenant: str, count: int, cost: Callable[[], float] = lambda: 1.0) -> None:
        for _ in range(count):
            n = next(self.numbers)
            self.queues[tenant].append(Candidate(f"{tenant}/{n}", SHAPE, 0, n, 1, cost=cost()))

    def step(self) -> None:
        """Until the next worker is free, or workers are; they are given shots at once."""
        self.now_s = max(self.now_s, min(self.free_s.values()))
        free = [w for w, at_s in self.free_s.items() if at_s <= self.now_s]
        views = [WorkerView(worker, frozenset({"svd"}), idle=True) for worker in free]
        waiting = [c for t, c in self.turns.items() if self.queues[t]]
        told = share({t: q[:256] for t, q in self.queues.items()}, waiting, self.now, views)
        self.now = told.now
        self.turns |= {claimant.tenant: claimant for claimant in told.served}
        for given in told.assignments:
            tenant = given.shot.partition("/")[0]
            shot = next(s for s in self.queues[tenant] if s.shot == given.shot)
            self.queues[tenant].remove(shot)
            self.free_s[given.worker] = self.now_s + shot.cost * self.draw.uniform(0.9, 1.1)
            self.served.append((self.now_s, tenant, shot.cost))

    def run(self, until_s: float) -> None:
        while min(self.free_s.values()) < until_s and any(self.queues.values()):
            self.step()

    def parts(self, since_s: float = 0.0) -> dict[str, float]:
        """Of the GPU time that was given out since, each tenant's."""
        costs: Counter[str] = Counter()
        for at_s, tenant, cost in self.served:
            if at_s >= since_s:
                costs[tenant] += cost  # type: ignore[assignment]
        return {tenant: cost / costs.total() for tenant, cost in costs.items()}


@pytest.mark.parametrize("worker_count", [1, 5, 64])
@pytest.mark.parametrize("seed", [1, 2])
def test_floods_get_their_weights_parts(worker_count: int, seed: int) -> None:
    farm = Farm({"a": 1, "b": 2, "c": 4}, worker_count, seed)
    draw = random.Random(seed)
    farm.add("a", 5000)
    farm.add("b", 5000, lambda: draw.choice([0.5, 1.0, 2.0]))
    farm.add("c", 5000)
    farm.run(until_s=2000 / worker_count)
    for tenant, weight in {"a": 1, "b": 2, "c": 4}.items():
        assert farm.parts()[tenant] == pytest.approx(weight / 7, rel=0.05)


def test_a_short_job_does_not_wait_for_a_flood() -> None:
    farm = Farm({"flood": 1, "short": 1}, 4, 1)
    farm.add("flood", 5000)
    waits_s = []
    for at_s in range(20, 400, 20):
        farm.run(until_s=float(at_s))
        farm.add("short", 2)
        came_s = farm.now_s
        while farm.queues["short"]:
            farm.step()
        waits_s.append(farm.now_s - came_s)
    assert max(waits_s) <= 2.2  # two shots' time, on four workers


def test_who_comes_back_gets_its_part_and_no_more() -> None:
    farm = Farm({"a": 1, "b": 1, "c": 1}, 3, 1)
    farm.add("a", 5000)
    farm.add("c", 5000)
    farm.run(until_s=300.0)
    farm.add("b", 5000)
    farm.run(until_s=600.0)
    for tenant in ("a", "b", "c"):
        assert farm.parts(since_s=300.0)[tenant] == pytest.approx(1 / 3, rel=0.05)


def test_who_used_the_farm_alone_owes_nothing_for_it() -> None:
    farm = Farm({"a": 1, "b": 1}, 3, 1)
    farm.add("a", 5000)
    farm.run(until_s=300.0)
    farm.add("b", 5000)
    farm.run(until_s=600.0)
    assert farm.parts(since_s=300.0)["a"] == pytest.approx(1 / 2, rel=0.05)


def test_the_lightest_tenant_is_served_too() -> None:
    farm = Farm({"light": 0.01, "heavy": 10.0}, 2, 1)
    farm.add("heavy", 2_500)
    farm.add("light", 3)
    farm.run(until_s=1_200.0)
    assert sum(tenant == "light" for _, tenant, _ in farm.served) >= 2
