"""Tenants: their names, their parts of the farm and their limits."""

from __future__ import annotations

import re
from dataclasses import dataclass

MIN_WEIGHT, MAX_WEIGHT = 0.001, 1000.0
MAX_COUNT = 2**63 - 1  # of a limit: what a column and a message can hold
MAX_GPU_S_PER_DAY = 1e12
NAMES = "1 to 63 of a-z, 0-9 and -, a letter or digit at both ends"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Limits:
    """What a tenant may take; None: as much as there is."""

    max_queued_shots: int | None = None  # those that render included
    max_stored_bytes: int | None = None  # videos, and the images it owns
    max_streams: int | None = None  # open at one gateway
    max_requests_per_minute: int | None = None  # at one gateway
    max_gpu_s_per_day: float | None = None  # that its shots held workers, over a rolling day


@dataclass(frozen=True)
class Tenant:
    """Whose jobs, images and videos are apart from everyone else's."""

    name: str
    display_name: str = ""
    weight: float = 1.0  # its part of the farm, beside those of others who wait too
    limits: Limits = Limits()
    create_time_s: float = 0.0


@dataclass(frozen=True)
class Problem:
    """A value that a tenant cannot have."""

    field: str
    given: str
    allowed: str


def is_name(text: str) -> bool:
    """Whether a tenant can be called so."""
    return _NAME.fullmatch(text) is not None


def problems(tenant: Tenant) -> list[Problem]:
    """What is wrong with a tenant as it is asked for."""
    found = []
    if not is_name(tenant.name):
        found.append(Problem("name", repr(tenant.name[:100]), NAMES))
    if len(tenant.display_name) > 128 or "\0" in tenant.display_name:
        found.append(Problem("display_name", "too long or has a NUL", "at most 128 characters"))
    if not MIN_WEIGHT <= tenant.weight <= MAX_WEIGHT:  # nor is NaN
        found.append(
            Problem("weight", f"{tenant.weight:g}", f"from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}")
        )
    for field, value in vars(tenant.limits).items():
        most = MAX_GPU_S_PER_DAY if field == "max_gpu_s_per_day" else MAX_COUNT
        if value is not None and not 0 <= value <= most:
            found.append(Problem(field, f"{value}", f"from 0 to {most:.19g}, or none"))
    return found
