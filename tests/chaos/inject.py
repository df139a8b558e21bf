"""Throws faults at a farm, some in pairs, as the seed says."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.chaos import faults
from tests.chaos.site import Site

Fault = Callable[[Site, random.Random], dict[str, Any]]

_PAIRS = 0.25
_PAUSE_S = (0.3, 2.0)
_READY_S = 60.0

_ALL: dict[Fault, Callable[[Site], bool]] = {
    faults.gateway_kill: lambda _: True,
    faults.gateway_stop: lambda _: True,
    faults.gateway_freeze: lambda _: True,
    faults.gateway_dies_at: lambda _: True,
    faults.answers_lost: lambda _: True,
    faults.clock_jump: lambda _: True,
    faults.worker_kill: lambda _: True,
    faults.worker_stop: lambda _: True,
    faults.worker_freeze: lambda _: True,
    faults.wire_cut: lambda _: True,
    faults.wire_stall: lambda _: True,
    faults.images_collected: lambda _: True,
    faults.network_partition: lambda site: site.network is not None,
    faults.network_bad: lambda site: site.network is not None,
    faults.version_change: lambda site: site.older is not None,
    faults.postgres_restart: lambda site: site.postgres is not None,
    faults.postgres_cut: lambda site: site.postgres is not None,
    faults.s3_errors: lambda site: site.s3_faults is not None,
    faults.s3_lost_replies: lambda site: site.s3_faults is not None,
    faults.s3_slow: lambda site: site.s3_faults is not None,
    faults.disk_low: lambda site: site.disk_is_small,
    faults.disk_full: lambda site: site.disk_is_small,
}
NAMES = tuple(fault.__name__ for fault in _ALL)


def staged(site: Site) -> list[Fault]:
    """Those that this farm and this machine allow, of those that the plan names."""
    wanted = site.plan.faults or tuple(site.plan.counts) or NAMES
    return [fault for fault, can in _ALL.items() if fault.__name__ in wanted and can(site)]


def inject(site: Site) -> None:
    """Throws faults at the farm, some in pairs: so many as the plan says, or for so long."""
    with faults.orders(site, "lose-answers", str(site.plan.lose_answers)):
        _inject(site)


def _inject(site: Site) -> None:
    rng = random.Random(f"{site.plan.seed}/faults")
    for chosen in _chosen(site, rng):
        seeds = [rng.random() for _ in chosen]
        threads = [
            threading.Thread(target=_throw, args=[site, fault, random.Random(seed), len(chosen)])
            for fault, seed in zip(chosen, seeds, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Sooner or later the farm has to come up again between two faults.
        for gateway in site.gateways:
            if not gateway.ready.wait(_READY_S):
                site.history.tell("away", name=gateway.name, for_s=_READY_S)
        time.sleep(rng.uniform(*_PAUSE_S))


def _chosen(site: Site, rng: random.Random) -> Iterator[list[Fault]]:
    """What is thrown at once, again and again."""
    can = staged(site)
    if site.plan.counts:
        left = [fault for fault in can for _ in range(site.plan.counts.get(fault.__name__, 0))]
        rng.shuffle(left)
        while left:
            yield [left.pop() for _ in range(1 + (len(left) > 1 and rng.random() < _PAIRS))]
        return
    deadline = time.monotonic() + site.plan.seconds
    while can and (time.monotonic() < deadline or len(site.accepted) < site.plan.jobs):
        pair = len(can) > 1 and rng.random() < _PAIRS
        yield rng.sample(can, 2) if pair else [rng.choice(can)]


def _throw(site: Site, fault: Fault, rng: random.Random, at_once: int) -> None:
    name = fault.__name__
    site.history.tell("fault", name=name, at_once=at_once)
    begun = time.time()
    try:
        about = fault(site, rng)
    except Exception as error:  # noqa: BLE001 - the checker tells it
        site.history.tell("harness", error=f"{name}: {type(error).__name__}: {error}")
        return
    site.history.tell("healed", name=name, begun=begun, **about)
