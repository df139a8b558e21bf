"""What a shot may ask for, and what is allowed: one table, used by every program of the farm.

The names are the wire's. Sources of the ranges: diffusers'
`StableVideoDiffusionPipeline.__call__` (which parameters there are, sizes in multiples of 8) and
the farm's own limits on memory and time.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from farm.jobs.codec import Codec, Container
from farm.jobs.tiers import Tier

SEED_MAX = 2**63 - 1
MAX_SHOTS_PER_JOB = 10_000
PREVIEW_LIMIT_BYTES = 16 * 1024


class Fit(enum.StrEnum):
    """How an image of another shape meets the video's."""

    CROP = "crop"  # scale to cover, cut what hangs over
    PAD = "pad"  # scale to fit inside, black bars
    STRETCH = "stretch"  # the SVD guide's image.resize((width, height))


@dataclass(frozen=True)
class RenderParams:
    """The settings of one clip. `None` means: the model's or the farm's default.

    After `resolve` only two may be None: `decode_chunk_size`, for all frames decoded together, and
    `crf`, where the codec has one quality.
    """

    model: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    frame_count: int | None = None
    step_count: int | None = None
    fps: int | None = None
    playback_fps: int | None = None
    motion_bucket_id: int | None = None
    noise_aug_strength: float | None = None
    min_guidance_scale: float | None = None
    max_guidance_scale: float | None = None
    decode_chunk_size: int | None = None
    seed: int | None = None
    fit: Fit | None = None
    codec: Codec | None = None
    crf: int | None = None
    tier: Tier | None = None

    @property
    def container(self) -> Container:
        """The kind of file that the frames go into."""
        return (self.codec or Codec.H264).container


@dataclass(frozen=True)
class Problem:
    """One field of one shot that cannot be accepted."""

    field: str
    given: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.field} is {self.given}; allowed: {self.allowed}"


@dataclass(frozen=True)
class Range:
    """The allowed values of one number."""

    low: float
    high: float
    whole: bool = True
    multiple: int = 1

    def __str__(self) -> str:
        if self.multiple > 1:
            return f"a multiple of {self.multiple} from {self.low:g} to {self.high:g}"
        kind = "a whole number" if self.whole else "a number"
        high = "2^63 - 1" if self.high == SEED_MAX else f"{self.high:g}"
        return f"{kind} from {self.low:g} to {high}"

    def admits(self, value: object) -> bool:
        """Whether `value` is allowed; a bool is not a number, and NaN is in no range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, float) and (self.whole or not math.isfinite(value)):
            return False
        return self.low <= value <= self.high and (not self.whole or value % self.multiple == 0)


RANGES: Mapping[str, Range] = {
    "width_px": Range(56, 2048, multiple=8),
    "height_px": Range(56, 2048, multiple=8),
    "frame_count": Range(1, 128),
    "step_count": Range(1, 200),
    "fps": Range(1, 60),
    "playback_fps": Range(1, 60),
    "motion_bucket_id": Range(0, 255),
    "noise_aug_strength": Range(0, 10, whole=False),
    "min_guidance_scale": Range(0, 30, whole=False),
    "max_guidance_scale": Range(0, 30, whole=False),
    "decode_chunk_size": Range(1, 128),
    "seed": Range(0, SEED_MAX),
    "crf": Range(0, 63),
}

# Of the codecs that take a crf; the others have one quality. av1 takes 0 for none given.
CRF_RANGES: Mapping[Codec, Range] = {
    Codec.H264: Range(0, 51),
    Codec.H265: Range(0, 51),
    Codec.AV1: Range(1, 63),
}
# Where a difference is no longer seen; benchmarks/results/codecs.json has what each costs.
CRF_DEFAULTS: Mapping[Codec, int] = {Codec.H264: 17, Codec.H265: 18, Codec.AV1: 24}


def problems(params: RenderParams) -> Iterator[Problem]:
    """Everything in `params` that is out of range, field by field, then between fields."""
    for name, allowed in RANGES.items():
        value = getattr(params, name)
        if value is not None and not allowed.admits(value):
            yield Problem(name, str(value), str(allowed))
    low, high = params.min_guidance_scale, params.max_guidance_scale
    guidance = RANGES["min_guidance_scale"]
    # One out of range is told above, and may be longer than a float can show.
    in_range = guidance.admits(low) and guidance.admits(high)
    if low is not None and high is not None and in_range and low > high:
        yield Problem("min_guidance_scale", f"{low:g}", f"at most max_guidance_scale ({high:g})")
    chunk, frames = params.decode_chunk_size, params.frame_count
    if chunk is not None and frames is not None and chunk > frames:
        yield Problem("decode_chunk_size", str(chunk), f"from 1 to frame_count ({frames})")
    codec, crf = params.codec or Codec.H264, params.crf
    if crf is not None and RANGES["crf"].admits(crf):
        of_codec = CRF_RANGES.get(codec)
        if of_codec is None:
            yield Problem("crf", str(crf), f"none, as codec {codec} has one quality")
        elif not of_codec.admits(crf):
            yield Problem("crf", str(crf), f"{of_codec} with codec {codec}")


@dataclass(frozen=True)
class ModelInfo:
    """A model as the farm knows it, with the defaults of the fields that depend on it."""

    name: str
    width_px: int
    height_px: int
    frame_count: int
    step_count: int = 25
    identity: str = ""  # of its weights and numerics, as its worker computes it; empty: not known
    tiers: tuple[str, ...] = ()  # beside exact, as its worker tells them


# diffusers' own defaults of every field that no model decides.
DEFAULTS = RenderParams(
    fps=7,
    motion_bucket_id=127,
    noise_aug_strength=0.02,
    min_guidance_scale=1.0,
    max_guidance_scale=3.0,
    fit=Fit.CROP,
    codec=Codec.H264,
    tier=Tier.EXACT,
)

# Frame counts are the checkpoints' `num_frames`; the size is what Stability trained them on.
SVD = ModelInfo("svd", 1024, 576, frame_count=14)
SVD_XT = ModelInfo("svd-xt", 1024, 576, frame_count=25)
# A small SVD of the farm's own, trained and in the package, for machines without a GPU.
NANO = ModelInfo("nano", 128, 128, frame_count=14, step_count=15)
# Random weights: a test pattern, for trying the farm where there is no GPU.
TINY = ModelInfo("tiny", 256, 144, frame_count=14, step_count=8)

# To be told wherever one of these is used: nobody shall take its clips for what SVD can do.
NOTES: Mapping[str, str] = {
    NANO.name: "small and trained: a camera moves over the picture",
    TINY.name: "random weights: a test pattern",
}

KNOWN_MODELS: Mapping[str, ModelInfo] = {model.name: model for model in (SVD, SVD_XT, NANO, TINY)}


def with_defaults(params: RenderParams) -> RenderParams:
    """`params` with the defaults that no model decides."""
    given = {k: v for k, v in dataclasses.asdict(params).items() if v is not None}
    filled = dataclasses.replace(DEFAULTS, **given)
    crf = None if filled.codec is None else CRF_DEFAULTS.get(filled.codec)
    return dataclasses.replace(filled, crf=_first(params.crf, crf))


def resolve(params: RenderParams, model: ModelInfo, seed: int) -> RenderParams:
    """`params` with every unset field filled: the model's defaults, then diffusers', then `seed`.

    What the user set is never changed. A default can contradict it (min_guidance_scale 4 and the
    default maximum of 3), so callers pass the result to `problems` once more.
    """
    filled = with_defaults(params)
    return dataclasses.replace(
        filled,
        model=model.name,
        width_px=_first(params.width_px, model.width_px),
        height_px=_first(params.height_px, model.height_px),
        frame_count=_first(params.frame_count, model.frame_count),
        step_count=_first(params.step_count, model.step_count),
        playback_fps=_first(params.playback_fps, filled.fps),
        seed=_first(params.seed, seed),
    )


def default_model(on_gpu: bool) -> str:
    """The model of workers and renders that were given none."""
    return SVD_XT.name if on_gpu else NANO.name


def _first(value: int | None, default: int | None) -> int | None:
    return default if value is None else value
