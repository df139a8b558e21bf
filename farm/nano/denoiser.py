"""Training of the UNet and the image encoder: to see a clip through noise, from its first frame.

The objective is SVD's: the v-prediction of Karras et al. (EDM, arXiv:2206.00364, table 1), whose
weighting (s^2 + 1) / s^2 of the squared error of the clip is that of the network's own output.
Conditioning, scaling and dropout are those of StableVideoDiffusionPipeline and the paper
(arXiv:2311.15127, appendix D): noisy first frame through the VAE, unscaled; fps - 1, motion bucket
and noise strength; each picture input blanked for some clips, for classifier-free guidance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPVisionModelWithProjection

from farm.nano.motion import SPEED_RANGE_PX, bucket_for, random_clip, random_fps
from farm.nano.muon import Muon
from farm.nano.parts import make_image_encoder, make_unet
from farm.nano.pictures import Pictures, crop
from farm.nano.progress import Training, flat_then_falling
from farm.render.resize import resize_antialiased

SEED = 20261121
MATRIX_RATE, OTHER_RATE = 2e-3, 1e-3
EMA_DECAY = 0.999
# The last steps are in float32: bfloat16's rounding is a bias, which sampling does not have.
COARSE_SHARE = 0.96
DROP_BOTH, DROP_EITHER = 0.06, 0.02
# Most of a sampler's work is between 0.05 and 50, but it starts at 700, and what was never seen
# there goes wrong there.
LOG_SIGMA_DEVIATION, WIDE_SHARE = 1.6, 0.1
SIGMA_RANGE = (0.02, 700.0)
NOISE_AUG_RANGE = (0.005, 1.0)

# Encoding a strip costs as much as learning from it once, so each is learnt from several times:
# another start, pace, direction of time and noise make another clip of it.
PACES = (1, 2)
USES = 16
STRIPS_KEPT = 256
STRIPS_AT_START = 8


@dataclass(frozen=True)
class Shape:
    """What one batch is made of."""

    batch: int
    frame_count: int
    height_px: int
    width_px: int


@dataclass(frozen=True)
class Stage:
    """A share of the training: the shapes that its batches take in turn, and the usual noise."""

    share: float
    log_sigma_mean: float
    shapes: tuple[Shape, ...]


# Small clips teach how pictures move at a seventh of the price, with so much noise as leaves the
# camera's way open: where that is not found early in sampling, clips melt towards their end. The
# sizes that people ask for come last, with less noise, for detail. The length is the usual one from
# the start: a position in time that was never seen is one where the picture dissolves.
STAGES = (
    Stage(0.6, 1.5, (Shape(4, 14, 64, 64),)),
    Stage(0.4, 0.8, (Shape(2, 14, 96, 96), Shape(1, 14, 128, 128), Shape(2, 25, 64, 64))),
)


@dataclass(frozen=True)
class Strip:
    """A long clip at a known speed, encoded once."""

    frames: Tensor  # uint8 (frame, channel=3, height, width)
    latents: Tensor  # float16 (frame, channel, height, width), scaled
    speed_px: float


@dataclass
class Strips:
    """The strips of one shape, the oldest replaced first."""

    shape: Shape
    kept: list[Strip] = field(default_factory=list)
    next: int = 0

    def add(self, strip: Strip) -> None:
        """Take one in."""
        if len(self.kept) < STRIPS_KEPT:
            self.kept.append(strip)
        else:
            self.kept[self.next] = strip
            self.next = (self.next + 1) % STRIPS_KEPT


class Conditioned(nn.Module):
    """The two networks that are trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.unet: Any = make_unet()
        self.image_encoder: CLIPVisionModelWithProjection = make_image_encoder()


def train_unet(
    networks: Conditioned,
    pictures: Pictures,
    vae: Any,
    feature_extractor: Any,
    checkpoint: Path,
    *,
    step_count: int,
    device: torch.device,
    say: Callable[[str], None],
) -> Conditioned:
    """Train `networks` further; they are returned in evaluation mode."""
    vae = vae.to(device)
    networks.to(device)
    fast_bfloat16 = _has_fast_bfloat16(device)
    training = Training(
        networks,
        _optimizers(networks, torch.bfloat16 if fast_bfloat16 else torch.float32),
        step_count,
        checkpoint,
        EMA_DECAY,
        flat_then_falling,
    )
    weights = loudness(vae, pictures).to(device)
    shelves: dict[Shape, Strips] = {}

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng((SEED, step))
        torch.manual_seed(SEED + step)
        stage = stage_at(step, step_count)
        shape = stage.shapes[step % len(stage.shapes)]
        strips = shelves.setdefault(shape, Strips(shape))
        new = int(rng.random() < shape.batch / USES)
        for _ in range(new if strips.kept else STRIPS_AT_START):
            strips.add(_encode_strip(pictures, vae, shape, rng, device))
        samples = [_sample(strips, rng, device) for _ in range(shape.batch)]
        coarse = fast_bfloat16 and step < COARSE_SHARE * step_count
        with torch.autocast(device.type, torch.bfloat16, enabled=coarse):
            return _loss(
                networks, vae, feature_extractor, samples, rng, stage.log_sigma_mean, weights
            )

    with _attention(device):
        training.run(loss_of, say)
    training.use_average()
    return networks.eval().requires_grad_(False)


def _has_fast_bfloat16(device: torch.device) -> bool:
    """On a CPU without matrix units for it, bfloat16 takes three times as long as float32."""
    return device.type == "cuda" or bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU torch's own attention over 14 frames takes three times as long backwards as plain
    products do: a sixth of a step."""
    plain = device.type == "cpu"
    return sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()


def _optimizers(networks: Conditioned, products: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for what multiplies hidden features, AdamW for the ends, norms and biases."""
    ends = {networks.unet.conv_in.weight, networks.unet.conv_out.weight}
    ends.update(networks.image_encoder.vision_model.embeddings.parameters())
    matrices = [p for p in networks.parameters() if p.ndim > 1 and p not in ends]
    others = [p for p in networks.parameters() if p.ndim == 1 or p in ends]
    adam = torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.99), weight_decay=0.0)
    return [Muon(matrices, lr=MATRIX_RATE, dtype=products), adam]


@torch.no_grad()
def loudness(vae: Any, pictures: Pictures) -> Tensor:
    """How much each latent (channel,) changes the picture when it is disturbed; 1 in the mean.

    All latents have unit variance, but three of sixteen hold most of what is seen. The loss weighs
    them by this: between latents counted alike and pixels counted alike.
    """
    rng = np.random.default_rng(SEED)
    generator = torch.Generator().manual_seed(SEED)
    crops = np.stack([crop(pictures.choose(rng, 64), 64, rng) for _ in range(12)])
    device = next(vae.parameters()).device
    batch = torch.from_numpy(crops).permute(0, 3, 1, 2).float().to(device) / 127.5 - 1
    latents = vae.encode(batch).latent_dist.mode()
    usual = vae.decode(latents, num_frames=1).sample
    changes = []
    for channel in range(latents.shape[1]):
        other = latents.clone()
        disturbance = torch.randn(other[:, channel].shape, generator=generator)
        other[:, channel] += 0.3 * disturbance.to(device)
        changed = vae.decode(other, num_frames=1).sample - usual
        changes.append(changed.square().mean().sqrt())
    found = torch.stack(changes).cpu()
    return found / found.mean()


def stage_at(step: int, step_count: int) -> Stage:
    """The stage that a step belongs to."""
    done = 0.0
    for stage in STAGES:
        done += stage.share
        if step < done * step_count:
            break
    return stage


@torch.no_grad()
def _encode_strip(
    pictures: Pictures, vae: Any, shape: Shape, rng: np.random.Generator, device: torch.device
) -> Strip:
    # Room for another start, and for every second frame.
    count = max(PACES) * shape.frame_count
    speed = _log_uniform(rng, SPEED_RANGE_PX[0], SPEED_RANGE_PX[1] / max(PACES))
    clip = random_clip(
        pictures,
        rng,
        speed_px=speed,
        frame_count=count,
        height_px=shape.height_px,
        width_px=shape.width_px,
    ).to(device)
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in clip.split(8)])
    return Strip(
        frames=((clip + 1) * 127.5).round().to(torch.uint8),
        latents=(latents * vae.config.scaling_factor).half(),
        speed_px=speed,
    )


@dataclass(frozen=True)
class Sample:
    """One clip of a batch and what is told about it."""

    latents: Tensor  # float32 (frame, channel, height, width)
    first_frame: Tensor  # float32 (channel=3, height, width) in [-1, 1]
    fps: int
    bucket: float
    noise_aug: float


def _sample(strips: Strips, rng: np.random.Generator, device: torch.device) -> Sample:
    strip = strips.kept[rng.integers(len(strips.kept))]
    count = strips.shape.frame_count
    pace = int(rng.choice(PACES))
    start = int(rng.integers(len(strip.latents) - pace * (count - 1)))
    picked = torch.arange(count, device=device) * pace + start
    if rng.random() < 0.5:
        picked = picked.flip(0)
    fps = random_fps(rng, strip.speed_px * pace)
    return Sample(
        latents=strip.latents[picked].float(),
        first_frame=strip.frames[picked[0]].float() / 127.5 - 1,
        fps=fps,
        bucket=bucket_for(strip.speed_px * pace, fps),
        noise_aug=_log_uniform(rng, *NOISE_AUG_RANGE),
    )


def _loss(
    networks: Conditioned,
    vae: Any,
    feature_extractor: Any,
    samples: list[Sample],
    rng: np.random.Generator,
    log_sigma_mean: float,
    weights: Tensor,
) -> Tensor:
    clean = torch.stack([sample.latents for sample in samples])
    device, count = clean.device, len(samples)
    first = torch.stack([sample.first_frame for sample in samples])
    strength = torch.tensor([sample.noise_aug for sample in samples], device=device)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        noisy_first = first + strength[:, None, None, None] * torch.randn_like(first)
        picture = vae.encode(noisy_first).latent_dist.mode()
    chance = torch.from_numpy(rng.random(count)).to(device)
    blank_picture = chance < DROP_BOTH + DROP_EITHER
    blank_embedding = (chance < DROP_BOTH) | (chance > 1 - DROP_EITHER)
    picture = picture.masked_fill(blank_picture[:, None, None, None], 0.0)
    sigma = _sigmas(rng, count, log_sigma_mean).to(device)[:, None, None, None, None]
    noised = clean + sigma * torch.randn_like(clean)
    target = v_target(clean, noised, sigma)
    time_ids = torch.tensor([[s.fps - 1, s.bucket, s.noise_aug] for s in samples], device=device)
    pixels = _clip_pixels(feature_extractor, first)
    embedding = networks.image_encoder(pixels).image_embeds[:, None]
    embedding = embedding.masked_fill(blank_embedding[:, None, None], 0.0)
    repeated = picture[:, None].expand(-1, clean.shape[1], -1, -1, -1)
    output = networks.unet(
        torch.cat([noised / (sigma.square() + 1).sqrt(), repeated], dim=2),
        0.25 * sigma.flatten().log(),
        embedding,
        time_ids,
        return_dict=False,
    )[0]
    error: Tensor = output.float() - target
    return (error.square().mean((0, 1, 3, 4)) * weights).mean()


def v_target(clean: Tensor, noised: Tensor, sigma: Tensor) -> Tensor:
    """What the UNet has to say for the sampler to find `clean`.

    EulerDiscreteScheduler.step takes x / (s^2 + 1) - s / sqrt(s^2 + 1) v for the clean sample.
    """
    variance = sigma.square() + 1
    return (noised / variance - clean) * variance.sqrt() / sigma


def _clip_pixels(feature_extractor: Any, pictures: Tensor) -> Tensor:
    """As the pipeline shows a picture to CLIP: 224 square, antialiased, in CLIP's own units."""
    resized = (resize_antialiased(pictures, 224) + 1) / 2
    mean = torch.tensor(feature_extractor.image_mean, device=pictures.device)[:, None, None]
    deviation = torch.tensor(feature_extractor.image_std, device=pictures.device)[:, None, None]
    return (resized - mean) / deviation


def _sigmas(rng: np.random.Generator, count: int, log_mean: float) -> Tensor:
    # One from each part of the law, in any order: batches are small, and the noise level is most of
    # what makes one batch's loss differ from another's.
    ranks = torch.from_numpy((rng.permutation(count) + rng.uniform(1e-4, 1, count)) / count)
    usual = (log_mean + LOG_SIGMA_DEVIATION * torch.special.ndtri(ranks * (1 - 1e-4))).numpy()
    wide = rng.uniform(math.log(SIGMA_RANGE[0]), math.log(SIGMA_RANGE[1]), count)
    chosen = np.where(rng.random(count) < WIDE_SHARE, wide, usual)
    return torch.from_numpy(np.exp(chosen)).float().clamp(*SIGMA_RANGE)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))
