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
