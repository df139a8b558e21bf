from __future__ import annotations

import pytest

from farm.jobs.draft import draft_of
from farm.jobs.params import SVD_XT, TINY, ModelInfo, RenderParams


def test_a_draft_of_svd_xt_is_half_as_wide_and_takes_ten_steps() -> None:
    draft = draft_of(RenderParams(seed=7, motion_bucket_id=90), SVD_XT)
    assert draft == RenderParams(
        seed=7, motion_bucket_id=90, width_px=512, height_px=320, step_count=10
    )


def test_what_was_asked_for_is_halved_not_the_models_own() -> None:
    draft = draft_of(RenderParams(width_px=768, height_px=768, step_count=50), SVD_XT)
    assert (draft.width_px, draft.height_px, draft.step_count) == (384, 384, 20)


@pytest.mark.parametrize("model", [TINY, ModelInfo("small", 56, 56, 3, 2)])
def test_a_draft_is_never_larger_than_the_clip(model: ModelInfo) -> None:
    draft = draft_of(RenderParams(), model)
    assert (draft.width_px or 0) <= model.width_px
    assert (draft.height_px or 0) <= model.height_px
    assert (draft.step_count or 0) <= model.step_count


def test_a_small_models_draft_keeps_its_shape() -> None:
    draft = draft_of(RenderParams(), TINY)
    assert (draft.width_px, draft.height_px) == (128, 72)
