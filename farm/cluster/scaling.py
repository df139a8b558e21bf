"""Serve's autoscaling policy: as many workers as the gateway has work for.

Serve pickles this module whole and makes the policy in its controller, which calls it ten times a
second and does nothing else meanwhile.
"""

from __future__ import annotations

import time
import weakref
from typing import Any

from ray.serve.config import AutoscalingContext

from farm.cluster.demand import DemandWatch
from farm.cluster.group import told_group
from farm.jobs.demand import Bounds, Need, scale
from farm.jobs.tiers import Tier
from farm.settings import Settings
from svdfarm.v1.session_service_pb2 import GetDemandRequest


class DemandPolicy:
    """Scales a group by what its gateway told last; while that is away, the number stays."""

    def __init__(
        self,
        *,
        gateway: str,
        model: str,
        group: str,
        min_workers: int,
        max_workers: int,
        idle_s: float,
    ) -> None:
        request = GetDemandRequest(
            model=model, group=told_group(group), shot_limit=max_workers, tiers=list(Tier)
        )
        # Here, as Serve shows a policy's arguments to everybody.
        settings = Settings.load()
        self._watch = DemandWatch(
            gateway,
            settings.worker_token(),
            request,
            tls=settings.tls_for(gateway),
            plaintext=settings.get("plaintext", None, False),
        )
        weakref.finalize(self, self._watch.stop)  # Serve tells a policy nothing of its end
        self._bounds = Bounds(min_workers, max_workers, idle_s)
        self._past: tuple[Need, ...] = ()

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """How many workers there are to be; Serve keeps no state for us."""
        target = context.target_num_replicas
        now_s = time.monotonic()
        count, self._past = scale(self._watch.latest, target, self._past, now_s, self._bounds)
        return count, {}
