"""The farms that are simulated, and the figures that are told of each."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.farm_sim.costs import Costs, fit
from benchmarks.farm_sim.memory_queue import MemoryQueue, SimTenant
from benchmarks.farm_sim.virtual import Plan, VirtualFarm, simulate

Run = Callable[[], dict[str, Any]]

WORKERS = (500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000)
SHOTS = (100_000, 1_000_000)  # with several tenants
CLIP_S = 10.0
COMMIT_S = 0.005  # assumed: an fsync, and some ten round trips in a data centre
CLIPS_EACH = 5  # of a worker, in a sweep
TENANTS = {"a": 1.0, "b": 2.0, "c": 3.0}  # and their weights
PRIORITIES = (0, 5)
_JOB_SHOTS = 500


def runs(results: Path) -> Iterator[tuple[str, Run]]:
    """Every simulated farm by its name."""
    costs = measured(results)
    for workers in WORKERS:
        yield f"{workers} workers", partial(_sweep, workers, costs)
    for shots in SHOTS:
        yield f"5000 workers, {shots} shots", partial(_tenants, 5000, shots, costs)


def measured(results: Path) -> Costs:
    """The costs that sim-load.json and sim-store.json have of PostgreSQL as it is now."""
    loads = json.loads((results / "sim-load.json").read_text())
    stores = json.loads((results / "sim-store.json").read_text())
    load = next(each for name, each in loads.items() if name.startswith("now, postgresql"))
    store = next(each for name, each in stores.items() if name.startswith("now, postgresql"))
    return derive(load, store)


def derive(load: dict[str, Any], store: dict[str, Any]) -> Costs:
    """A message costs what a heartbeat does; publishing is what is left of a shot's cost."""
    idle, busy = load["idle"], load["busy"]
    message_s = idle["gateway_cores"] / idle["heartbeats_per_s"]
    lines = {kind: fit(store, kind) for kind in ("claim", "start", "record")}
    of_shots_s = busy["gateway_cores"] - busy["heartbeats_per_s"] * message_s
    shot_s = of_shots_s / busy["shots_per_s"]
    # At that load about one shot shares a transaction with another.
    store_s = sum(cpu.of(2) / 2 for cpu, _ in lines.values())
    told = busy["progress_per_s"] / busy["shots_per_s"]
    publish_s = shot_s - store_s - (told + 1) * message_s  # an Assign; Settled is in it
    return Costs(
        message_s=message_s,
        send_s=message_s,
        publish_s=max(publish_s, 0.0),
        idle_gateway_s=message_s,
        cpu={kind: cpu for kind, (cpu, _) in lines.items()},
        wait={kind: wait for kind, (_, wait) in lines.items()},
        commit_s=COMMIT_S,
    )


def _sweep(workers: int, costs: Costs) -> dict[str, Any]:
    def fill(queue: MemoryQueue) -> None:
        queue.tenants["a"] = SimTenant("a")
        for _ in range((CLIPS_EACH + 4) * workers // _JOB_SHOTS + 1):
            queue.submit("a", _JOB_SHOTS)

    plan = Plan(workers, CLIPS_EACH * workers, CLIP_S, costs)
    return figures(plan, simulate(plan, fill))


def _tenants(workers: int, shots: int, costs: Costs) -> dict[str, Any]:
    """Each tenant wants more than all devices do, half of it at each priority."""

    def fill(queue: MemoryQueue) -> None:
        for name, weight in TENANTS.items():
            queue.tenants[name] = SimTenant(name, weight)
        total = sum(TENANTS.values())
        for name, weight in TENANTS.items():
            wanted = int(shots * weight / total * 1.05) + 2 * workers
            for number in range(wanted // _JOB_SHOTS):
                queue.submit(name, _JOB_SHOTS, priority=PRIORITIES[number % len(PRIORITIES)])

    plan = Plan(workers, shots, CLIP_S, costs)
    farm = simulate(plan, fill)
    return figures(plan, farm) | fairness(farm)


def figures(plan: Plan, farm: VirtualFarm) -> dict[str, Any]:
    """What a simulated farm did."""
    seen = farm.seen
    took_s = seen.ended_s - seen.began_s
    return {
        "workers": plan.workers,
        "clip_s": plan.clip_s,
        "shots": len(seen.shots),
        "virtual_s": round(seen.ended_s, 1),
        "utilisation": round(seen.busy_s / (plan.workers * took_s), 5),
        "shots_per_s": round(len(seen.shots) / seen.ended_s, 1),
        "gateway_busy": round(
            seen.gateway_s / took_s + plan.costs.idle_gateway_s * plan.workers / plan.heartbeat_s, 3
        ),
        "writer_busy": round(seen.writer_s / took_s, 3),
        "changes_per_transaction": round(seen.changes / max(seen.groups, 1), 2),
        "claimed_twice": len(farm.queue.twice),
        "ended_twice": sum(1 for count in seen.shots.values() if count > 1),
    }


def fairness(farm: VirtualFarm) -> dict[str, Any]:
    """Shares of tenants against their weights, and waits by tenant and priority."""
    weights = {tenant.name: tenant.weight for tenant in farm.queue.tenants.values()}
    served = Counter(farm.queue.tenant_of(key) for key in farm.queue.claimed)
    waits: dict[str, list[float]] = {}
    for key, at_s in farm.queue.claimed.items():
        tenant, priority = farm.queue.tenant_of(key), farm.queue.priority_of(key)
        waits.setdefault(f"{tenant}, priority {priority}", []).append(at_s)
    shares = {name: served[name] / weight for name, weight in weights.items()}
    return {
        "jain": round(jain(list(shares.values())), 6),
        "share_to_weight": {
            name: round(share / statistics.mean(shares.values()), 4)
            for name, share in sorted(shares.items())
        },
        **_served(farm),
        "queue_wait_s": {
            name: {"p50": round(statistics.median(all_s), 1), "max": round(max(all_s), 1)}
            for name, all_s in sorted(waits.items())
        },
    }


def _served(farm: VirtualFarm, parts: int = 40) -> dict[str, Any]:
    """The tenants' shares of the shots given out, in equal parts of the time."""
    last_s = max(farm.queue.claimed.values())
    each: list[Counter[str]] = [Counter() for _ in range(parts)]
    for key, at_s in farm.queue.claimed.items():
        each[min(int(at_s / last_s * parts), parts - 1)][farm.queue.tenant_of(key)] += 1
    return {
        "served_at_s": [round((number + 1) * last_s / parts, 1) for number in range(parts)],
        "served": {
            name: [round(part[name] / max(part.total(), 1), 4) for part in each]
            for name in farm.queue.tenants
        },
    }


def jain(shares: Sequence[float]) -> float:
    """Jain's index: 1 where all have the same, 1/n where one has all."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
