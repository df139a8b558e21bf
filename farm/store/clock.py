"""Two clocks: the wall's for people, a steady one for leases."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Where the store takes its times from; tests pass their own."""

    wall_s: Callable[[], float] = time.time  # Unix seconds
    steady_s: Callable[[], float] = time.monotonic  # never jumps; means nothing after a restart
