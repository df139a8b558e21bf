from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from farm.nano import motion
from farm.nano.motion import (
    BUCKET_MAX,
    FPS_RANGE,
    SPEED_RANGE_PX,
    bucket_for,
    random_camera,
    random_clip,
    random_fps,
    speed_for,
)
from farm.nano.photographs import pyramid
from farm.nano.pictures import Pictures, draw


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    rng = np.random.default_rng(5)
    return Pictures([pyramid(draw(rng)) for _ in range(4)])


def test_bucket_and_speed_are_each_others_inverse() -> None:
    for bucket in (0, 20, 127, 255):
        for fps in (3, 7, 30):
            assert bucket_for(speed_for(bucket, fps), fps) == pytest.approx(bucket)


def test_motion_grows_eightfold_over_the_buckets_and_falls_with_fps() -> None:
    assert speed_for(255, 7) == pytest.approx(8 * speed_for(0, 7))
    assert speed_for(127, 14) == pytest.approx(speed_for(127, 7) / 2)


def test_every_training_speed_gets_an_fps_at_which_it_has_a_bucket() -> None:
    rng = np.random.default_rng(0)
    for speed in np.geomspace(*SPEED_RANGE_PX, 50):
        for _ in range(10):
            fps = random_fps(rng, float(speed))
            assert FPS_RANGE[0] <= fps <= FPS_RANGE[1]
            assert 0 <= bucket_for(float(speed), fps) <= BUCKET_MAX


@pytest.mark.parametrize("speed_px", [0.4, 1.5, 3.0])
def test_a_camera_moves_its_points_as_fast_as_it_was_asked_to(speed_px: float) -> None:
    rng = np.random.default_rng(1)
    speeds = []
    for _ in range(60):
        views = random_camera(rng, speed_px, 8, 64, 64).views(8, 64, 64)
        speeds.append(float((views[1:] - views[:-1]).norm(dim=-1).mean()))

    assert np.mean(speeds) == pytest.approx(speed_px, rel=0.1)


def test_no_view_leaves_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "PASTE_SHARE", 0.0)  # what is pasted has a brightness of its own
    # A sample outside the picture reads as 0, and these pictures are white: 1 everywhere.
    white = np.full((300, 300, 3), 255, np.uint8)
    blank = Pictures([[white]])
    blank.drawings = [[white]]
    for seed in range(40):
        clip = random_clip(
            blank,
            np.random.default_rng(seed),
            speed_px=3.0,
            frame_count=14,
            height_px=64,
            width_px=96,
        )
        # Brightness varies from clip to clip, never within one.
        assert float(clip.max() - clip.min()) < 0.02


def test_a_clip_has_the_asked_shape_and_starts_with_the_picture(pictures: Pictures) -> None:
    clip = random_clip(
        pictures,
        np.random.default_rng(2),
        speed_px=1.0,
        frame_count=5,
        height_px=48,
        width_px=64,
    )

    assert clip.shape == (5, 3, 48, 64)
    assert clip.dtype == torch.float32
    assert float(clip.abs().max()) <= 1.0
    near, far = (float((clip[n] - clip[0]).square().mean()) for n in (1, 4))
    assert 0 < near < far


def test_the_same_seed_draws_the_same_clip(pictures: Pictures) -> None:
    def clip(seed: int) -> torch.Tensor:
        rng = np.random.default_rng(seed)
        return random_clip(pictures, rng, speed_px=1.0, frame_count=3, height_px=32, width_px=32)

    assert torch.equal(clip(3), clip(3))
    assert not torch.equal(clip(3), clip(4))


def test_drawings_are_pictures_and_differ() -> None:
    rng = np.random.default_rng(0)
    first, second = draw(rng), draw(rng)
    assert isinstance(first, Image.Image)
    assert first.mode == "RGB"
    assert first.tobytes() != second.tobytes()
