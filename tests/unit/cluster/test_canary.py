"""The clip that a worker renders before it takes shots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from farm.cluster import canary
from farm.render.engine import Engine
from farm.render.errors import ClipNotFinite
from farm.render.fake import FakeRenderer
from farm.render.load import Model
from farm.render.renderer import EngineRenderer, Rendered


class Changed(FakeRenderer):
    """Renders what `change` makes of each clip's frames."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self._change = change

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        clip = super().render(*args, **kwargs)
        return Rendered(self._change(clip.frames), clip.params, clip.durations_s, clip.receipt)


def fail(_: object) -> None:
    raise ClipNotFinite("NaN in the latents")


def last_is_grey(frames: Any) -> Any:
    return np.concatenate([frames[:-1], np.full_like(frames[-1:], 0.5)])


def test_the_real_engine_passes(model: Model) -> None:
    assert canary.fault(EngineRenderer(Engine(model))) == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda frames: frames * np.float32("nan"), "has NaN"),
        (lambda frames: frames * 0, "of one colour"),
        (last_is_grey, "of one colour"),
        (lambda frames: frames[:, :0], "the canary clip failed"),
        (fail, "the canary clip failed: ClipNotFinite: NaN in the latents"),
    ],
)
def test_a_bad_clip_is_told(change: Callable[[Any], Any], told: str) -> None:
    assert told in canary.fault(Changed(change))


def test_a_good_clip_is_told_of_in_no_way() -> None:
    assert canary.fault(Changed(lambda frames: frames)) == ""
