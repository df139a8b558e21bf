"""The simulated farm: what must hold of any farm, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from benchmarks.farm_sim import clockwork
from benchmarks.farm_sim.costs import FREE, Costs, Line
from benchmarks.farm_sim.memory_queue import MemoryQueue, SimTenant
from benchmarks.farm_sim.sweep import fairness, figures, jain
from benchmarks.farm_sim.virtual import Plan, VirtualFarm, simulate

SLOW = Costs(
    message_s=0.001,
    send_s=0.001,
    publish_s=0.02,
    idle_gateway_s=0.0,
    cpu={kind: Line(0.001, 0.001) for kind in ("claim", "start", "record")},
    wait={kind: Line(0.005, 0.001) for kind in ("claim", "start", "record")},
)
WEIGHTS = {"a": 1.0, "b": 2.0, "c": 3.0}


def farm(plan: Plan, *, priorities: tuple[int, ...] = (0,)) -> VirtualFarm:
    """Three tenants, each of whom wants more than all devices do."""

    def fill(queue: MemoryQueue) -> None:
        for name, weight in WEIGHTS.items():
            queue.tenants[name] = SimTenant(name, weight)
            for number in range(20):
                priority = priorities[number % len(priorities)]
                queue.submit(name, plan.shots // 20 + 5, priority=priority)

    return simulate(plan, fill)


def test_a_gateway_that_costs_nothing_keeps_every_device_rendering() -> None:
    told = figures(plan := Plan(20, 400, 10.0, FREE), farm(plan))
    assert told["utilisation"] == pytest.approx(1.0)
    assert (told["shots"], told["claimed_twice"], told["ended_twice"]) == (400, 0, 0)


def test_a_gateway_that_is_too_slow_leaves_devices_idle_and_no_shot_is_lost() -> None:
    # 0.02 s and more of its time a shot: fifty workers ask for one each 0.01 s.
    simulated = farm(plan := Plan(50, 400, 0.5, SLOW))
    told = figures(plan, simulated)
    assert told["utilisation"] < 0.6
    assert told["gateway_busy"] > 0.9
    assert (told["claimed_twice"], told["ended_twice"]) == (0, 0)
    claimed, ended = set(simulated.queue.claimed), set(simulated.seen.shots)
    held = {lease.shot for worker in simulated.workers for lease in worker.leases.values()}
    assert ended <= claimed
    assert claimed - ended <= held  # what was begun has ended, or a worker has it


def test_tenants_get_their_weights_parts_of_the_farm() -> None:
    told = fairness(farm(Plan(30, 600, 10.0, SLOW)))
    assert told["jain"] > 0.99
    assert all(share == pytest.approx(1, abs=0.1) for share in told["share_to_weight"].values())


def test_of_one_tenant_a_higher_priority_goes_first() -> None:
    simulated = farm(Plan(10, 200, 10.0, FREE), priorities=(0, 5))
    given = Counter(simulated.queue.priority_of(key) for key in simulated.queue.claimed)
    of_a = [key for key in simulated.queue.claimed if simulated.queue.tenant_of(key) == "a"]
    assert {simulated.queue.priority_of(key) for key in of_a} == {5}
    assert given[5] > given[0]


def test_virtual_time_passes_as_it_is_asked_to() -> None:
    async def wait() -> list[float]:
        loop, seen = asyncio.get_running_loop(), []
        for pause_s in (3600.0, 0.0, 1.5):
            await asyncio.sleep(pause_s)
            seen.append(round(loop.time(), 3))
        return seen

    assert clockwork.run(wait()) == [3600.0, 3600.0, 3601.5]


def test_jains_index() -> None:
    assert jain([2, 2, 2]) == pytest.approx(1)
    assert jain([1, 0, 0, 0]) == pytest.approx(0.25)
