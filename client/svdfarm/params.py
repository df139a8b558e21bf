"""The settings of a clip, checked as they are made: no farm is needed to hear of a mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Self

from svdfarm.errors import Rejected, Violation

_SEED_MAX = 2**63 - 1


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may be."""

    low: float
    high: float
    whole: bool = True
    multiple: int = 1

    def __contains__(self, value: object) -> bool:
        kind = Integral if self.whole else Real  # numpy's too
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        number: Any = value  # Real tells type checkers of no order; NaN is in no range
        return bool(self.low <= number <= self.high) and (
            not self.whole or number % self.multiple == 0
        )

    def __str__(self) -> str:
        if self.multiple > 1:
            return f"a multiple of {self.multiple} from {self.low:g} to {self.high:g}"
        kind = "a whole number" if self.whole else "a number"
        high = "2^63 - 1" if self.high == _SEED_MAX else f"{self.high:g}"
        return f"{kind} from {self.low:g} to {high}"


# Those of farm/jobs/params.py, as a test sees to. Models and codecs are the farm's own to know.
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
    "seed": Range(0, _SEED_MAX),
    "crf": Range(0, 63),
}
FITS = ("crop", "pad", "stretch")
TIERS = ("exact", "fast")


@dataclass(frozen=True)
class RenderParams:
    """The settings of one clip. None means the farm's or the model's default.

    In what the farm answers two may be None: `decode_chunk_size`, for all frames decoded together,
    and `crf`, where the codec has one quality.
    Raises Rejected whose `violations` name each field, what was given and what is allowed.
    """

    model: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    frame_count: int | None = None
    step_count: int | None = None
    fps: int | None = None  # conditions the motion; see playback_fps
    playback_fps: int | None = None
    motion_bucket_id: int | None = None
    noise_aug_strength: float | None = None
    min_guidance_scale: float | None = None
    max_guidance_scale: float | None = None
    decode_chunk_size: int | None = None
    seed: int | None = None
    fit: str | None = None  # crop, pad or stretch
    codec: str | None = None  # h264, h265, av1, prores, ffv1 or png
    crf: int | None = None
    tier: str | None = None  # exact, or fast, which changes the pixels

    def __post_init__(self) -> None:
        violations = [*self._violations()] or [*self._contradictions()]
        if violations:
            raise Rejected("; ".join(map(str, violations)), violations=violations)

    @classmethod
    def received(cls, **values: Any) -> Self:
        """Settings as a farm tells them: unchecked, as a later version may allow more."""
        params = object.__new__(cls)
        for field in fields(cls):
            object.__setattr__(params, field.name, values.get(field.name))
        return params

    def _violations(self) -> Iterator[Violation]:
        given = {name: value for name, value in vars(self).items() if value is not None}
        for name, value in given.items():
            if name in RANGES:
                if value not in RANGES[name]:
                    yield _refused(name, value, str(RANGES[name]))
            elif not isinstance(value, str):
                yield _refused(name, value, "a text")
            elif name == "fit" and value not in FITS:
                yield _refused(name, value, ", ".join(FITS))
            elif name == "tier" and value not in TIERS:
                yield _refused(name, value, ", ".join(TIERS))

    def _contradictions(self) -> Iterator[Violation]:
        low, high = self.min_guidance_scale, self.max_guidance_scale
        if low is not None and high is not None and low > high:
            yield _refused("min_guidance_scale", low, f"at most max_guidance_scale ({high:g})")
        chunk, frames = self.decode_chunk_size, self.frame_count
        if chunk is not None and frames is not None and chunk > frames:
            yield _refused("decode_chunk_size", chunk, f"from 1 to frame_count ({frames})")


def _refused(field: str, given: object, allowed: str) -> Violation:
    return Violation(field, f"is {given!r}; allowed: {allowed}")
