from __future__ import annotations

import dataclasses

from farm.jobs.cache import cache_key
from farm.jobs.estimate import work_of
from farm.jobs.params import SVD_XT, RenderParams, resolve
from farm.jobs.schedule import shape_of
from farm.jobs.tiers import FULL_EVERY, Tier, model_of, served_as

EXACT = resolve(RenderParams(), SVD_XT, seed=1)
FAST = dataclasses.replace(EXACT, tier=Tier.FAST)


def test_a_shot_is_exact_unless_it_asks() -> None:
    assert EXACT.tier is Tier.EXACT


def test_a_clip_that_was_cached_before_there_were_tiers_is_found_again() -> None:
    before = "57341002bc2ff90c8015a4ff0258964c80c9cb18e7e504d83e0d1b1f492860f4"

    assert cache_key("a" * 64, EXACT, "b" * 64) == before
    assert cache_key("a" * 64, dataclasses.replace(EXACT, tier=None), "b" * 64) == before


def test_a_fast_clip_is_another_one() -> None:
    assert cache_key("a" * 64, FAST, "b" * 64) != cache_key("a" * 64, EXACT, "b" * 64)


def test_what_makes_a_clip_fast_does_not_change_under_its_name() -> None:
    # Receipts and cached clips say fast, and mean this. Another number is another tier.
    assert FULL_EVERY == {Tier.EXACT: 1, Tier.FAST: 3}


def test_a_tier_is_served_under_a_name_that_no_model_has() -> None:
    assert [served_as("svd-xt", tier) for tier in (None, *Tier)] == [
        "svd-xt",
        "svd-xt",
        "svd-xt/fast",
    ]
    assert {model_of(served_as("svd-xt", tier)) for tier in Tier} == {"svd-xt"}


def test_a_fast_shot_needs_who_serves_it_and_has_a_pace_of_its_own() -> None:
    assert (shape_of(EXACT).model, shape_of(FAST).model) == ("svd-xt", "svd-xt/fast")
    assert (work_of(EXACT).model, work_of(FAST).model) == ("svd-xt", "svd-xt/fast")
