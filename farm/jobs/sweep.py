"""Parameter sweeps: one shot entry becomes one shot per combination of values."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from farm.jobs.params import MAX_SHOTS_PER_JOB

_SPAN = re.compile(r"\s*(\d{1,19})\s*-\s*(\d{1,19})\s*(?::\s*(\d{1,19})\s*)?", re.ASCII)


class SweepInvalid(ValueError):
    """A sweep that cannot be expanded; the message says why and what is allowed."""


def values(given: object) -> Sequence[object]:
    """The values of one swept field: a list as it is, "1-4" as 1 2 3 4, "1-10:3" as 1 4 7 10."""
    if isinstance(given, str):
        match = _SPAN.fullmatch(given)
        if match is None:
            raise SweepInvalid(f'{given!r} is not a range; write "1-4", "1-10:3" or a list')
        first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
        if last < first or step < 1:
            raise SweepInvalid(f"{given!r} is empty; write the smaller end first, a step from 1")
        if (last - first) // step >= MAX_SHOTS_PER_JOB:
            raise SweepInvalid(f"{given!r} has more values than a job's {MAX_SHOTS_PER_JOB} shots")
        return range(first, last + 1, step)
    if isinstance(given, list):
        if not given:
            raise SweepInvalid("an empty list; give at least one value")
        return given
    raise SweepInvalid(f'{given!r} is not a list or a range such as "1-4"')


def count(sweep: Mapping[str, Sequence[object]], combine: str) -> int:
    """How many shots `combinations` gives, without making them.

    Raises SweepInvalid where `zip` meets lists of different lengths, or the product is more
    than a job may hold.
    """
    lengths = {field: len(options) for field, options in sweep.items()}
    if combine == "zip":
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{field} has {n}" for field, n in lengths.items())
            raise SweepInvalid(f"combine: zip needs lists of one length; {told}")
        total = next(iter(lengths.values()), 1)
    else:
        total = math.prod(lengths.values())
    if total > MAX_SHOTS_PER_JOB:
        raise SweepInvalid(f"{total} shots; a job holds at most {MAX_SHOTS_PER_JOB}")
    return total


def combinations(
    sweep: Mapping[str, Sequence[object]], combine: str
) -> Iterator[dict[str, object]]:
    """One mapping of swept field to value per shot, the last field varying fastest."""
    rows = (
        zip(*sweep.values(), strict=True)
        if combine == "zip"
        else itertools.product(*sweep.values())
    )
    for row in rows:
        yield dict(zip(sweep, row, strict=True))
