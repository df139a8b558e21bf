"""Tiers: how much of a clip's arithmetic may be left out for speed. See docs/decisions/0031."""

from __future__ import annotations

import enum


class Tier(enum.StrEnum):
    """What a shot gives up for speed."""

    EXACT = "exact"  # nothing
    FAST = "fast"  # most steps take over what the inner blocks found at an earlier one


# Each so many-th denoising step is a full one. Another number makes other clips of the same shot:
# it belongs to a tier of another name.
FULL_EVERY = {Tier.EXACT: 1, Tier.FAST: 3}
_BETWEEN = "/"  # a model has its folder's name, where this cannot be


def served_as(model: str, tier: str | None) -> str:
    """What a worker has to serve for a clip of this model in this tier: `MODEL`, or `MODEL/TIER`.

    A worker of a version before tiers serves its models alone, so that it is never given a shot of
    a tier that it does not know.
    """
    return model if tier in {None, Tier.EXACT} else f"{model}{_BETWEEN}{tier}"


def model_of(served: str) -> str:
    """The model of what `served_as` gives."""
    return served.partition(_BETWEEN)[0]
