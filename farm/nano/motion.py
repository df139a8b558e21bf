"""Clips for training: a camera that pans, zooms, turns or passes by, over a still picture.

The motion is known exactly, so `motion_bucket_id` and `fps` mean something exact as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from farm.nano.pictures import Pictures, crop, vary

# Mean speed in pixels a frame at motion_bucket_id 0 and 7 fps; bucket 255 is eight times as fast.
SLOWEST_PX = 0.125
BUCKET_RATIO = 8.0
BUCKET_MAX = 255
REFERENCE_FPS = 7
FPS_RANGE = (3, 30)
# Every speed in it has a motion_bucket_id at some fps in that range.
SPEED_RANGE_PX = (0.05, 1.25)

ZOOM_MAX = math.log(1.8)  # over a whole clip
TURN_MAX = 0.5  # radians, likewise
PASTE_SHARE = 0.05
MARGIN_PX = 2


def bucket_for(speed_px: float, fps: int) -> float:
    """The motion_bucket_id of a mean speed of `speed_px` a frame at `fps`; may be out of range.

    Faster playback means less motion from one frame to the next, as in a real camera.
    """
    ratio = speed_px * fps / (REFERENCE_FPS * SLOWEST_PX)
    return BUCKET_MAX * math.log(ratio) / math.log(BUCKET_RATIO)


def speed_for(bucket: float, fps: int) -> float:
    """The mean speed, pixels a frame, that training showed for this bucket and fps."""
    growth: float = BUCKET_RATIO ** (bucket / BUCKET_MAX)
    return SLOWEST_PX * growth * REFERENCE_FPS / fps


def random_fps(rng: np.random.Generator, speed_px: float) -> int:
    """An fps at which `speed_px` has a motion_bucket_id, evenly spread over their logarithms."""
    still = REFERENCE_FPS * SLOWEST_PX / speed_px  # the fps of bucket 0
    low = max(math.ceil(still), FPS_RANGE[0])
    high = min(math.floor(still * BUCKET_RATIO), FPS_RANGE[1])
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


@dataclass(frozen=True)
class Camera:
    """A steady motion: at time t a view's point u shows the picture's point
    c + p t d(u) + s e^(z t) R(w t) u.

    d is 1 at the centre and rises downwards by `depth` over half the height: the ground, which is
    nearer, passes faster than the sky.
    """

    pan_px: tuple[float, float]  # p, (x, y) a frame
    zoom: float = 0.0  # z, a frame
    turn: float = 0.0  # w, radians a frame
    depth: float = 0.0

    def views(self, frame_count: int, height_px: int, width_px: int) -> Tensor:
        """Where each pixel looks, relative to c: (frame, height, width, 2) as x, y in pixels."""
        time = torch.arange(frame_count, dtype=torch.float32)[:, None, None]
        y = (torch.arange(height_px) - (height_px - 1) / 2)[None, :, None]
        x = (torch.arange(width_px) - (width_px - 1) / 2)[None, None, :]
        # Neither the first nor the last frame is much enlarged: the middle one is at scale 1.
        scale = torch.exp(self.zoom * (time - (frame_count - 1) / 2))
        sine, cosine = torch.sin(self.turn * time), torch.cos(self.turn * time)
        nearness = (1 + self.depth * y / (height_px / 2)) * time * scale[:1]
        return torch.stack(
            [
                scale * (cosine * x - sine * y) + self.pan_px[0] * nearness,
                scale * (sine * x + cosine * y) + self.pan_px[1] * nearness,
            ],
            dim=-1,
        )


def random_camera(
    rng: np.random.Generator, speed_px: float, frame_count: int, height_px: int, width_px: int
) -> Camera:
    """A camera under which the view's points move by `speed_px` a frame in the mean."""
    # The mean distance of a rectangle's points from its centre.
    radius = 0.38 * math.sqrt(height_px * width_px)
    pan_share, zoom, turn, depth = 1.0, 0.0, 0.0, 0.0
    kind = rng.choice(["pan", "zoom", "turn", "pass", "mixed"], p=[0.34, 0.26, 0.1, 0.15, 0.15])
    sign = rng.choice([-1.0, 1.0])
    if kind == "zoom" and speed_px / radius * frame_count < ZOOM_MAX:
        pan_share, zoom = 0.0, sign * speed_px / radius
    elif kind == "turn" and speed_px / radius * frame_count < TURN_MAX:
        pan_share, turn = 0.0, sign * speed_px / radius
    elif kind == "pass":
        depth = float(rng.uniform(0.2, 0.7))
    elif kind == "mixed":
        pan_share = float(rng.uniform(0.5, 0.9))
        # Independent displacements add as squares.
        rest = math.sqrt(1 - pan_share**2) * speed_px / radius
        if rest * frame_count < TURN_MAX:
            zoom, turn = (sign * rest, 0.0) if rng.random() < 0.6 else (0.0, sign * rest)
        else:
            pan_share = 1.0
    direction = rng.uniform(0, 2 * math.pi)
    pan = pan_share * speed_px
    # Cameras move sideways more than up and down.
    x, y = math.cos(direction), 0.7 * math.sin(direction)
    length = math.hypot(x, y)
    return Camera((pan * x / length, pan * y / length), zoom, turn, depth)


def random_clip(
    pictures: Pictures,
    rng: np.random.Generator,
    *,
    speed_px: float,
    frame_count: int,
    height_px: int,
    width_px: int,
) -> Tensor:
    """Frames of one moving picture, (frame, channel, height, width), float32 in [-1, 1]."""
    side = max(height_px, width_px)
    while True:
        camera = random_camera(rng, speed_px, frame_count, height_px, width_px)
        views = camera.views(frame_count, height_px, width_px)
        low = views.amin((0, 1, 2)).floor() - MARGIN_PX
        high = views.amax((0, 1, 2)).ceil() + MARGIN_PX
        reach_x, reach_y = (int(reach) for reach in (high - low).tolist())
        picture = pictures.choose(rng, side)
        # One that is too small for this motion is left for another, and another motion.
        if picture.shape[0] > reach_y and picture.shape[1] > reach_x:
            break
    field = vary(crop(picture, reach_y, rng, reach_x), rng, turn=False)
    frames = _look(_to_tensor(field), views - low)
    if rng.random() < PASTE_SHARE:
        frames = _paste(frames, pictures, rng, speed_px)
    return frames


def _look(field: Tensor, points: Tensor) -> Tensor:
    """`field`, (channel, height, width), at `points` in its pixels."""
    size = torch.tensor([field.shape[2], field.shape[1]])
    grid = (points + 0.5) * 2 / size - 1
    fields = field[None].expand(len(points), -1, -1, -1)
    looked = functional.grid_sample(fields, grid, mode="bicubic", align_corners=False)
    return looked.clamp(-1, 1)


def _paste(frames: Tensor, pictures: Pictures, rng: np.random.Generator, speed_px: float) -> Tensor:
    """A second layer in front: an oval or a box of another picture, moving on its own."""
    count, _, height, width = frames.shape
    side = min(height, width)
    texture = _to_tensor(vary(crop(pictures.choose(rng, side), side, rng), rng))
    texture = functional.pad(texture[None], (0, width - side, 0, height - side), mode="replicate")[
        0
    ]
    angle, pace = rng.uniform(0, 2 * math.pi), speed_px * rng.uniform(0.5, 2.0)
    step = torch.tensor([math.cos(angle), math.sin(angle)]) * pace
    still = Camera((0.0, 0.0)).views(1, height, width)[0]
    time = torch.arange(count)[:, None, None, None]
    centre = torch.tensor([rng.uniform(-0.3, 0.3) * width, rng.uniform(-0.3, 0.3) * height])
    points = still - centre - step * time
    half = torch.tensor([rng.uniform(0.1, 0.3) * width, rng.uniform(0.1, 0.3) * height])
    inside = (points / half).abs()
    distance = inside.norm(dim=-1) if rng.random() < 0.6 else inside.amax(-1)
    # One pixel of blur at the rim, as a camera gives it.
    cover = ((1 - distance) * half.min()).add(0.5).clamp(0, 1)[:, None]
    texture_points = points + torch.tensor([width / 2, height / 2])
    return frames + (_look(texture, texture_points) - frames) * cover


def _to_tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 127.5 - 1
