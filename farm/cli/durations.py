"""Lengths of time as people write them."""

from __future__ import annotations

import re

from farm.cli.exits import CommandFailed

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)


def read_duration_s(text: str, name: str) -> int:
    """Seconds of `30d`, `12h`, `90m` or `45s`. Raises CommandFailed that tells `name`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise CommandFailed(f"{name} is {text!r}; allowed: a number and s, m, h or d, such as 30d")
    return int(match[1]) * _UNITS_S[match[2]]


def told_s(seconds: float) -> str:
    """A length of time for people: 8.2 s, 3 min 12 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest_min = divmod(minutes, 60)
    days, rest_h = divmod(hours, 24)
    if days:
        return f"{days} d {rest_h} h"
    return f"{hours} h {rest_min} min" if hours else f"{minutes} min {rest_s} s"
