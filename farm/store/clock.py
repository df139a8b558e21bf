"""Two clocks: the wall's for people, a steady one for leases."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import ColumnElement

# A time on the steady clock: a number, or what the database reads from its own clock.
Instant: TypeAlias = float | ColumnElement[float]


@dataclass(frozen=True)
class Clock:
    """Where the store takes its times from; tests pass their own."""

    wall_s: Callable[[], float] = time.time  # Unix seconds
    # Never jumps; means nothing after a restart, when every lease is renewed.
    steady_s: Callable[[], Instant] = time.monotonic
