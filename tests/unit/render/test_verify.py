"""A video rendered again: what is called identical, and what is told where it is not."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.jobs.codec import Codec
from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.compare import compare
from farm.render.encode import encode
from farm.render.errors import InputsDiffer, ParamsRejected, VideoBroken, VideoUnreadable
from farm.render.fake import FakeRenderer
from farm.render.probe import probe_video
from farm.render.receipt import FORMAT, Receipt, read_receipt
from farm.render.renderer import Rendered
from farm.render.verify import Difference, check_settings, verify


class Elsewhere(FakeRenderer):
    """Another machine: the last frame comes out a little brighter."""

    def __init__(self, brighter: float = 0.02, **inputs: Any) -> None:
        super().__init__(device="another fake")
        self._brighter = brighter
        self._inputs = inputs

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        rendered = super().render(*args, **kwargs)
        frames = rendered.frames.copy()
        frames[-1] = np.clip(frames[-1] + self._brighter, 0, 1)
        inputs = dataclasses.replace(rendered.receipt.inputs, **self._inputs)
        receipt = dataclasses.replace(rendered.receipt, inputs=inputs)
        return dataclasses.replace(rendered, frames=frames, receipt=receipt)


@pytest.fixture(params=list(Codec))
def params(request: pytest.FixtureRequest) -> RenderParams:
    size = RenderParams(width_px=64, height_px=72, frame_count=4, step_count=1)
    return resolve(dataclasses.replace(size, codec=Codec(request.param)), TINY, seed=3)


@pytest.fixture
def video(params: RenderParams, picture_bytes: bytes, tmp_path: Path) -> Path:
    path = tmp_path / f"clip.{params.container}"
    FakeRenderer().render(picture_bytes, params).write(path)
    return path


def receipt_of(path: Path) -> Receipt:
    return Receipt.from_json(read_receipt(path))


def test_the_same_renderer_makes_the_same_frames(video: Path, picture_bytes: bytes) -> None:
    verdict = verify(video, receipt_of(video), picture_bytes, FakeRenderer())

    assert verdict.comparison.identical
    assert verdict.differences == ()


def test_another_machine_is_told_with_how_far_off_it_is(video: Path, picture_bytes: bytes) -> None:
    verdict = verify(video, receipt_of(video), picture_bytes, Elsewhere())

    found = verdict.comparison
    assert not found.identical
    # 0.02 in one frame of four is 34 dB there and 6 more over all, but for what codecs make of it.
    assert found.worst_frame == 3
    assert 30 < found.worst_psnr_db < found.psnr_db < 50
    assert verdict.differences == (Difference("device", "fake", "another fake"),)


@pytest.mark.parametrize("params", [Codec.FFV1, Codec.PNG], indirect=True)
def test_one_changed_level_of_one_pixel_is_no_identity_to_a_lossless_codec(
    params: RenderParams, tmp_path: Path
) -> None:
    frames = np.full((4, 72, 64, 3), 100 / 255, np.float32)
    changed = frames.copy()
    changed[2, 5, 6, 1] = 101 / 255
    paths = [tmp_path / f"{name}.{params.container}" for name in "ab"]
    for path, content in zip(paths, (frames, changed), strict=True):
        encode(content, params, {}, path)

    found = compare(*paths, params.codec, probe_video(paths[0]))

    assert (found.identical, found.worst_frame) == (False, 2)
    assert found.worst_psnr_db == pytest.approx(10 * math.log10(255**2 * 72 * 64 * 3))


@pytest.mark.parametrize(
    "other", [{"model_files": {"unet/config.json": "0" * 64}}, {"image_sha256": "0" * 64}]
)
def test_another_clip_is_not_compared(
    picture_bytes: bytes, small: RenderParams, tmp_path: Path, other: dict[str, Any]
) -> None:
    path = tmp_path / "clip.mp4"
    FakeRenderer().render(picture_bytes, small).write(path)

    with pytest.raises(InputsDiffer, match="0000"):
        verify(path, receipt_of(path), picture_bytes, Elsewhere(**other))


def test_a_video_that_lost_frames_is_told(
    picture_bytes: bytes, small: RenderParams, tmp_path: Path
) -> None:
    rendered = FakeRenderer().render(picture_bytes, small)
    path = tmp_path / "clip.mp4"
    encode(rendered.frames[:2], small, rendered.receipt.to_json(), path)

    with pytest.raises(VideoBroken, match="2 frames of 64x64; its receipt is of 3"):
        verify(path, receipt_of(path), picture_bytes, FakeRenderer())


def test_a_receipt_of_another_version_is_told(picture_bytes: bytes, small: RenderParams) -> None:
    told = FakeRenderer().render(picture_bytes, small).receipt.to_json()

    with pytest.raises(ValueError, match=f"format is 'svdfarm.receipt.v9'; known: {FORMAT}"):
        Receipt.from_json(told | {"format": "svdfarm.receipt.v9"})
    with pytest.raises(ValueError, match="other fields"):
        Receipt.from_json({"format": FORMAT, "params": {}})


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("environment", [], "environment is []; allowed: dict"),
        ("environment.threads", "2", "environment.threads is '2'; allowed: int | None"),
        ("environment.threads", True, "environment.threads is True; allowed: int | None"),
        ("environment.versions", None, "environment.versions is None; allowed: dict"),
        ("model", None, "model is None; allowed: dict"),
        ("model.name", 5, "model.name is 5; allowed: str"),
        ("model.revision", {}, "model.revision is {}; allowed: str | None"),
        ("inputs.image_sha256", 1, "inputs.image_sha256 is 1; allowed: str"),
        ("inputs.model_files", {"a": 1}, "inputs.model_files.a is 1; allowed: str"),
        ("inputs.model_files", [], "inputs.model_files is []; allowed: dict"),
        ("inputs.settings.seed", "5", "inputs.settings.seed is '5'; allowed: int"),
        ("inputs.settings.seed", False, "inputs.settings.seed is False; allowed: int"),
        ("inputs.settings.fit", "squeeze", "'squeeze' is not a valid Fit"),
        ("inputs.settings", [], "it has other fields than"),
        ("inputs.numerics.engine", None, "inputs.numerics.engine is None; allowed: str"),
        ("encoding.crf", "17", "encoding.crf is '17'; allowed: int | None"),
    ],
)
def test_a_receipt_with_a_field_of_another_type_is_told(
    picture_bytes: bytes, small: RenderParams, path: str, value: object, told: str
) -> None:
    receipt = FakeRenderer().render(picture_bytes, small).receipt.to_json()
    receipt = json.loads(json.dumps(receipt))
    *folders, field = path.split(".")
    functools.reduce(dict.__getitem__, folders, receipt)[field] = value

    with pytest.raises(ValueError, match=re.escape(told)):
        Receipt.from_json(receipt)


@pytest.mark.parametrize(
    ("settings", "threads", "told"),
    [
        (
            {"step_count": 10**9},
            1,
            "step_count is 1000000000; allowed: a whole number from 1 to 200",
        ),
        ({"width_px": 57}, 1, "width_px is 57; allowed: a multiple of 8"),
        ({"max_guidance_scale": 10**400}, 1, "max_guidance_scale is 1000"),
        ({"min_guidance_scale": 10**400}, 1, "min_guidance_scale is 1000"),
        ({}, 0, "threads is 0; allowed: a whole number from 1 to"),
        ({}, 10**9, "threads is 1000000000; allowed: a whole number from 1 to"),
    ],
)
def test_a_receipt_that_nobody_can_render_says_which_field_it_is(
    picture_bytes: bytes,
    small: RenderParams,
    settings: dict[str, Any],
    threads: int,
    told: str,
) -> None:
    receipt = FakeRenderer().render(picture_bytes, small).receipt
    inputs = receipt.inputs
    inputs = dataclasses.replace(inputs, settings=dataclasses.replace(inputs.settings, **settings))

    check_settings(receipt)
    with pytest.raises(ParamsRejected, match=told):
        check_settings(
            dataclasses.replace(
                receipt, inputs=inputs, environment=receipt.environment | {"threads": threads}
            )
        )


def test_a_file_of_another_kind_than_the_codecs_is_not_compared(
    picture_bytes: bytes, small: RenderParams, tmp_path: Path
) -> None:
    rendered = FakeRenderer().render(picture_bytes, small)
    path = tmp_path / "clip.zip"
    as_pictures = dataclasses.replace(small, codec=Codec.PNG, crf=None)
    encode(rendered.frames, as_pictures, rendered.receipt.to_json(), path)

    with pytest.raises(VideoUnreadable):
        verify(path, receipt_of(path), picture_bytes, FakeRenderer())
