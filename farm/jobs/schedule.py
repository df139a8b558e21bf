"""Which worker renders which shot next: a pure function of the queue and the workers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from farm.jobs.params import RenderParams
from farm.jobs.tiers import served_as

# How far behind a shot another one may be that is rendered before it because its shape is warm:
# at most so many places in its own job, or among the first shots of the next jobs. What is behind
# by more waits, so that no shot is ever passed over by more than MAX_OVERTAKES others.
_REACH_SHOTS = 64
_REACH_JOBS = 8
_REACH_SHOTS_OF_LATER_JOB = 8
MAX_OVERTAKES = _REACH_SHOTS + _REACH_JOBS * _REACH_SHOTS_OF_LATER_JOB


class Shape(NamedTuple):
    """What an engine compiles for: the first shot of another shape has to wait for that."""

    model: str  # as it is served: see farm.jobs.tiers
    width_px: int | None = None
    height_px: int | None = None
    frame_count: int | None = None
    decode_chunk_size: int | None = None
    guided: bool = True  # with a guidance pass the UNet's batch is two


def shape_of(params: RenderParams) -> Shape:
    """The shape of a clip; `params` are resolved."""
    assert params.model is not None
    return Shape(
        served_as(params.model, params.tier),
        params.width_px,
        params.height_px,
        params.frame_count,
        params.decode_chunk_size or params.frame_count,
        guided=(params.max_guidance_scale or 0) > 1,
    )


@dataclass(frozen=True)
class Candidate:
    """A queued shot, as much of it as the choice depends on."""

    shot: str
    shape: Shape
    priority: int = 0
    job_number: int = 0
    number: int = 0  # in its job
    failed_on: frozenset[str] = frozenset()  # workers that ended an attempt without a video
    cost: float = 1.0  # what it is charged to its tenant; see farm.jobs.turns


@dataclass(frozen=True)
class WorkerView:
    """A connected worker, as much of it as the choice depends on.

    One that is neither `idle` nor `ahead` takes nothing now, and will when it has rendered.
    """

    worker: str
    models: frozenset[str]  # as they are served: see farm.jobs.tiers
    idle: bool = False  # its device waits
    ahead: bool = False  # its device is nearly done: the next shot may be sent ahead
    leaving: bool = False  # draining: it takes nothing more
    warm: tuple[Shape, ...] = ()  # what it rendered lately


@dataclass(frozen=True)
class Assignment:
    """This shot goes to this worker."""

    shot: str
    worker: str
    warm: bool  # it has rendered this shape lately


def assign(
    queue: Sequence[Candidate],
    workers: Iterable[WorkerView],
    others: Iterable[WorkerView] = (),
    most: int | None = None,
    need: Mapping[Shape, int] | None = None,
) -> list[Assignment]:
    """At most one shot for each worker that is idle or may be sent one ahead, and `most` in all.

    `queue` is in order of service: priority, then age. Idle workers come first, and stay idle only
    where the queue holds nothing that they can take; shots are sent ahead of what is left. A worker
    takes the highest priority there is for it; of that the oldest shot of a shape that it is warm
    for, within reach of the oldest shot of all (see MAX_OVERTAKES); else the oldest one.

    A worker that failed a shot before gets it again only when no other connected worker serves its
    model, busy ones and `others` included: those will be free in a moment, and the shot that killed
    this one may kill it again. `need` says how many shots of each shape there are, where there are
    more than in this queue.
    """
    staying = [worker for worker in workers if not worker.leaving]
    everyone = [*staying, *(worker for worker in others if not worker.leaving)]
    need = Counter(shot.shape for shot in queue) if need is None else need
    left = {shot.shot: shot for shot in queue}
    chosen: list[Assignment] = []
    for free in (
        {w.worker: w for w in staying if w.idle},
        {w.worker: w for w in staying if w.ahead and not w.idle},
    ):
        for _, equals in itertools.groupby(list(left.values()), key=lambda shot: shot.priority):
            if not free:
                break
            able = {shot: _able(shot, free, everyone) for shot in equals}
            for warm in (True, False):
                for assignment in _match(able, free, need, warm=warm):
                    chosen.append(assignment)
                    del left[assignment.shot]
                    if len(chosen) == most:
                        return chosen
    return chosen


def _able(
    shot: Candidate, free: Mapping[str, WorkerView], everyone: Sequence[WorkerView]
) -> list[str]:
    """Those of the free workers that the shot may go to."""
    serving = [w.worker for w in free.values() if shot.shape.model in w.models]
    if shot.failed_on and any(
        shot.shape.model in w.models and w.worker not in shot.failed_on for w in everyone
    ):
        return [worker for worker in serving if worker not in shot.failed_on]
    return serving


def _match(
    able: dict[Candidate, list[str]],
    free: dict[str, WorkerView],
    need: Mapping[Shape, int],
    *,
    warm: bool,
) -> Iterator[Assignment]:
    """Gives shots of one priority to workers, and takes both from `able` and `free`.

    Of several workers one goes first whose warm shapes are wanted least: the others will be.
    """
    for shot in list(able):
        fit = [
            free[worker]
            for worker in able[shot]
            if worker in free
            and (not warm or (shot.shape in free[worker].warm and _in_reach(shot, worker, able)))
        ]
        if fit:
            best = min(fit, key=lambda worker: sum(need[shape] for shape in worker.warm))
            del able[shot], free[best.worker]
            yield Assignment(shot.shot, best.worker, shot.shape in best.warm)


def _in_reach(shot: Candidate, worker: str, able: Mapping[Candidate, Sequence[str]]) -> bool:
    """Whether the worker may take this shot before the oldest one that it could take."""
    oldest = next(older for older, workers in able.items() if worker in workers)
    if shot.job_number == oldest.job_number:
        return shot.number - oldest.number <= _REACH_SHOTS
    jobs_behind = shot.job_number - oldest.job_number
    return jobs_behind <= _REACH_JOBS and shot.number <= _REACH_SHOTS_OF_LATER_JOB
