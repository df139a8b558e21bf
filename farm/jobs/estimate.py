"""How long shots will take, told by those that this farm has rendered before."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from farm.jobs.params import RenderParams
from farm.jobs.tiers import served_as

# What is not a denoising step (both encoders, the decoder, the video's file) costs about one step
# of SVD-XT: 176 TFLOP beside 160 at 25 frames of 576x1024.
_OTHER_STEPS = 1


class Work(NamedTuple):
    """What a clip's time depends on, all else of the farm being equal."""

    model: str  # as it is served: a tier has a pace of its own
    width_px: int
    height_px: int
    frame_count: int
    step_count: int

    @property
    def size(self) -> int:
        """In pixels denoised once: by this, clips of one model compare roughly."""
        pixels = self.width_px * self.height_px * self.frame_count
        return pixels * (self.step_count + _OTHER_STEPS)

    def distance(self, other: Work) -> tuple[bool, float]:
        """Less is more alike. More steps take more time exactly, more pixels only roughly."""
        own, others = self[:-1], other[:-1]
        return own != others, max(self.size / other.size, other.size / self.size)


def work_of(params: RenderParams) -> Work:
    """The work of a clip; `params` are resolved."""
    return Work(
        served_as(params.model or "", params.tier),
        params.width_px or 0,
        params.height_px or 0,
        params.frame_count or 0,
        params.step_count or 0,
    )


class Pace:
    """How long each kind of clip took here."""

    def __init__(self, history: Iterable[tuple[Work, float]]) -> None:
        """`history` has clips that were rendered, and the seconds that each took its worker."""
        took: defaultdict[Work, list[float]] = defaultdict(list)
        for work, seconds in history:
            took[work].append(seconds)
        # The median: a first clip compiles, and a busy machine is slow now and then.
        self._took = {work: statistics.median(all_s) for work, all_s in took.items()}
        self._of_model: defaultdict[str, list[Work]] = defaultdict(list)
        for work in self._took:
            self._of_model[work.model].append(work)

    def seconds(self, work: Work) -> float | None:
        """Of one clip: of those just like it, else in proportion to the model's most alike.

        None where the model has not rendered here.
        """
        if work in self._took:
            return self._took[work]
        alike = self._of_model[work.model]
        if not alike or not work.size:
            return None
        nearest = min(alike, key=work.distance)
        return self._took[nearest] * work.size / nearest.size

    def knows(self, work: Work) -> bool:
        """Whether clips just like this one were rendered here."""
        return work in self._took


@dataclass(frozen=True)
class Estimate:
    """What a job would take of the farm, and when it would be done."""

    gpu_s: float  # of the shots whose time can be told
    unknown_count: int  # shots whose time cannot
    scaled_count: int  # shots whose time is that of others, in proportion to their size
    ahead_s: float  # GPU time of the shots that go first, as far as it can be told
    worker_count: int  # that take its shots now
    finish_s: float | None  # from now on; None where that cannot be told


def estimate(
    pace: Pace, wanted: Mapping[Work, int], ahead: Mapping[Work, int], worker_count: int
) -> Estimate:
    """What `wanted` would take behind `ahead`, both counts of shots, on so many workers."""
    if not wanted:  # their videos are there
        return Estimate(0.0, 0, 0, 0.0, worker_count, finish_s=0.0)
    each = {work: pace.seconds(work) for work in wanted}
    known = {work: seconds for work, seconds in each.items() if seconds is not None}
    gpu_s = sum(seconds * wanted[work] for work, seconds in known.items())
    ahead_s = sum((pace.seconds(work) or 0) * count for work, count in ahead.items())
    finish_s = None
    if worker_count and len(known) == len(each):
        # No clip is shared between workers: the last one cannot be done sooner than it takes.
        longest_s = max(known.values(), default=0.0)
        finish_s = max((ahead_s + gpu_s) / worker_count, longest_s)
    return Estimate(
        gpu_s=gpu_s,
        unknown_count=sum(wanted[work] for work in each.keys() - known.keys()),
        scaled_count=sum(wanted[work] for work in known if not pace.knows(work)),
        ahead_s=ahead_s,
        worker_count=worker_count,
        finish_s=finish_s,
    )
